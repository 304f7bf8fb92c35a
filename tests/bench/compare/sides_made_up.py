"""Two sides to compare, made up."""

from factories import record

from bench.compare import table as compare
from bench.records import Found


def runs(values, method="asge", rates=None, noisy=(), **changes):
    """Records with one strategy, a seed per value."""
    rates = rates or [50.0] * len(values)
    return [
        timed(record(method, seed, {"last": value}, **changes), rate, noisy=seed in noisy)
        for seed, (value, rate) in enumerate(zip(values, rates, strict=True))
    ]


def timed(made, rate, noisy=False):
    training = made.training.model_copy(update={"images_per_second": rate, "noisy": noisy})
    return made.model_copy(update={"training": training})


def only(a, b, again=()):
    [row] = compare.comparisons(Found(a), Found(b), again)
    return row


def three_rows():
    a = [*runs([90.0, 91.0, 92.0], rates=[100.0, 102.0, 98.0]), *runs([80.0, 81.0], "cwc"), record("ff")]
    b = [*runs([94.5, 95.5, 96.5], rates=[200.0, 202.0, 198.0]), *runs([80.0, 81.0], "cwc")]
    return compare.comparisons(Found(a), Found(b), runs([90.0], rates=[105.0]))
