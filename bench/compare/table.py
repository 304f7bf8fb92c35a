"""Compares two sets of records, A and B: one row per task, method and strategy.

Accuracy. Of the values a_1 .. a_n of A and b_1 .. b_m of B, one per seed, the difference of the means d has the 95 %
interval of Student's two-sample t, with the pooled deviation s:

    d +- t(97.5 %, n + m - 2) * e        e = s * sqrt(1/n + 1/m)

The seeds are not paired: one seed under two versions of the code has no more in common than two seeds. With a
prior flat in both means and in log s, the posterior of the difference is the same t, and B is better with probability
F(d / e), where F is the distribution of t with n + m - 2 degrees of freedom (Box and Tiao, Bayesian Inference in
Statistical Analysis, section 2.5).

Speed. The same on logarithms of images per second, which gives the ratio B/A of geometric means. Runs of equal code
differ too: a ratio counts only if it is further from 1 than that of a second run of A to the first, the A/A ratio.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from scipy import special  # scipy.stats takes a second to import

from bench.compare import sides
from bench.compare.sides import Side
from bench.records import Found, Record
from bench.records.names import labels
from bench.reference.significance import sidak
from bench.statistics import CONFIDENCE, binomial_deviation

Verdict = Literal[
    "better", "worse", "no difference seen", "identical", "too few seeds", "failed", "only in A", "only in B"
]
SpeedVerdict = Literal["faster", "slower", "same", "noisy", ""]


@dataclass(frozen=True)
class Difference:
    """Mean of B minus mean of A, with a 95 % interval and the probability that it is above 0."""

    estimate: float
    low: float
    high: float
    probability: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One row. Values that are not known are None.

    Attributes:
        label: the method, with the settings that distinguish it from its other rows.
        n_a, n_b: seeds counted, one value each.
        failed_a, failed_b: seeds without a successful record.
        mean_a, mean_b: test accuracy of the last epoch, per cent.
        difference, low, high: B minus A in points, with its 95 % interval; no interval if all values are identical.
        probability: that B is better.
        speed_ratio, speed_low, speed_high: images per second in training, end to end, B over A, with its 95 % interval.
        speed_same: the same ratio of a second run of A to the first, the A/A ratio.
        speed_verdict: empty if nothing can be said.
        notes: caveats on the values.
    """

    task: str
    method: str
    label: str
    strategy: str
    verdict: Verdict
    n_a: int
    n_b: int
    failed_a: int
    failed_b: int
    mean_a: float | None = None
    mean_b: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    probability: float | None = None
    speed_ratio: float | None = None
    speed_low: float | None = None
    speed_high: float | None = None
    speed_same: float | None = None
    speed_verdict: SpeedVerdict = ""
    notes: tuple[str, ...] = ()


def comparisons(a: Found, b: Found, again: Sequence[Record] = ()) -> list[Comparison]:
    """One row per strategy on either side, by task and method.

    Experiments are matched by hash; if each side has a single experiment of a method and they differ, these are
    compared, and a note says how they differ. Of several records of a seed, the newest successful one counts.

    Args:
        a: one side.
        b: the other.
        again: records of A's code run a second time, for the A/A ratio.
    """
    of_a, of_b, repeated = sides.by_method(a), sides.by_method(b), sides.by_method(Found(again))
    table = []
    for task, method in sorted({*of_a, *of_b}):
        pairs = sides.pairs(of_a.get((task, method), {}), of_b.get((task, method), {}))
        names = labels([(method, sides.settings_of(one, other)) for one, other in pairs])
        for (one, other), label in zip(pairs, names, strict=True):
            second = repeated.get((task, method), {}).get(one.cell.experiment) if one.cell else None
            table += _rows(task, method, label, one, other, second or Side())
    return together(table)


def rows_of(one: Side, other: Side, label: str) -> list[Comparison]:
    """A row per strategy of two experiments of one task and method."""
    cell = one.cell or other.cell
    return [] if cell is None else _rows(cell.task, cell.method, label, one, other, Side())


def _rows(task: str, method: str, label: str, one: Side, other: Side, second: Side) -> list[Comparison]:
    speed = _speed(one, other, second)
    return [_row(task, method, label, strategy, one, other, speed) for strategy in _strategies(one, other)]


def together(table: Sequence[Comparison]) -> list[Comparison]:
    """Correct the verdicts for the number of rows: keep "better" and "worse" only if significant among all rows.

    Each row keeps its own interval. By Sidak's level, a table without any real difference has a verdict other than
    "no difference seen" with probability 5 %, however many rows it has.
    """
    judged = [row for row in table if row.probability is not None]
    level = sidak(1 - CONFIDENCE, max(1, len(judged)))

    def believed(row: Comparison) -> Comparison:
        if row.verdict not in ("better", "worse") or row.probability is None:
            return row
        if 2 * min(row.probability, 1 - row.probability) < level:
            return row
        note = f"its interval excludes 0, but among {len(judged)} rows that happens by chance"
        return replace(row, verdict="no difference seen", notes=(*row.notes, note))

    return [believed(row) for row in table]


def difference(a: Sequence[float], b: Sequence[float], least: float = 0.0) -> Difference | None:
    """Mean of ``b`` minus mean of ``a``, see the module's docstring.

    Args:
        a: values of one side.
        b: values of the other.
        least: deviation to assume if all values of each side are equal, as happens by chance with accuracies on a small
            test set or with a collapsed network.

    Returns:
        None if the spread cannot be judged: fewer than three values in all, or no deviation at all.
    """
    freedom = len(a) + len(b) - 2
    if not a or not b or freedom < 1:
        return None
    estimate = statistics.fmean(b) - statistics.fmean(a)
    squares = sum((x - statistics.fmean(side)) ** 2 for side in (a, b) for x in side)
    constant = len(set(a)) == 1 and len(set(b)) == 1
    deviation = least if constant else math.sqrt(squares / freedom)
    if deviation == 0:
        return None
    return of_student(estimate, deviation * math.sqrt(1 / len(a) + 1 / len(b)), freedom)


def of_student(estimate: float, error: float, freedom: int) -> Difference:
    """A difference whose estimate has a standard error above 0, by Student's t."""
    half = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return Difference(estimate, estimate - half, estimate + half, float(special.stdtr(freedom, estimate / error)))


def accuracy_verdict(a: Mapping[int, float], b: Mapping[int, float], found: Difference | None) -> Verdict:
    """The verdict on accuracies by seed; both sides have some."""
    if a == b:
        return "identical"
    if found is None:
        return "too few seeds"
    if found.low <= 0 <= found.high:
        return "no difference seen"
    return "better" if found.estimate > 0 else "worse"


def speed_verdict(
    ratio: float, low: float | None, high: float | None, same: float | None, *, noisy: bool
) -> SpeedVerdict:
    """The verdict on a ratio of speeds.

    Args:
        ratio: B over A.
        low: end of its interval; None if there is none.
        high: the other end.
        same: the A/A ratio; None if A was run only once.
        noisy: the machine was busy during one of the runs.
    """
    if noisy:
        return "noisy"
    if low is None or high is None:
        return ""
    if low <= 1 <= high:
        return "same"
    if same is None:
        return ""
    if max(ratio, 1 / ratio) <= max(same, 1 / same):
        return "same"
    return "faster" if ratio > 1 else "slower"


def _strategies(one: Side, other: Side) -> list[str]:
    """Strategies of both sides; an empty name for an experiment that failed on every attempt."""
    ok = [*one.counted.values(), *other.counted.values()]
    return list(dict.fromkeys(part.strategy for record in ok for part in record.strategies)) or [""]


def _row(
    task: str, method: str, label: str, strategy: str, one: Side, other: Side, speed: Mapping[str, Any]
) -> Comparison:
    a, b = one.accuracies(strategy), other.accuracies(strategy)
    figures: dict[str, Any] = {}
    notes = sides.problems(one, other)
    verdict: Verdict
    if a and b:
        least = binomial_deviation(statistics.fmean([*a.values(), *b.values()]), one.samples(strategy))
        found = difference(list(a.values()), list(b.values()), least)
        verdict = accuracy_verdict(a, b, found)
        figures = {"difference": statistics.fmean(b.values()) - statistics.fmean(a.values()), **speed}
        if verdict == "identical":  # the sides are the same sample: an interval around 0 would say nothing
            notes += sides.other_losses(one, other)
        elif found:
            figures |= {"low": found.low, "high": found.high, "probability": found.probability}
            if verdict == "no difference seen":
                notes.append(f"a difference below {(found.high - found.low) / 2:.2f} points would not have been seen")
        notes += sides.differences(one, other) + sides.noise(one, other)
    elif one.failed or other.failed:
        verdict = "failed"
    else:
        verdict = "only in A" if a else "only in B"
    return Comparison(
        task=task,
        method=method,
        label=label,
        strategy=strategy,
        verdict=verdict,
        n_a=len(a),
        n_b=len(b),
        failed_a=len(one.problems),
        failed_b=len(other.problems),
        mean_a=statistics.fmean(a.values()) if a else None,
        mean_b=statistics.fmean(b.values()) if b else None,
        notes=tuple(notes),
        **figures,
    )


def _speed(one: Side, other: Side, second: Side) -> dict[str, Any]:
    """The speed fields of a comparison; speed belongs to the experiment, not to a strategy."""
    a, b, again = one.speeds(), other.speeds(), second.speeds()
    if not a or not b:
        return {}
    ratio = statistics.geometric_mean(b.values()) / statistics.geometric_mean(a.values())
    found = difference([math.log(rate) for rate in a.values()], [math.log(rate) for rate in b.values()])
    low, high = (math.exp(found.low), math.exp(found.high)) if found else (None, None)
    both = [again[seed] / a[seed] for seed in again if seed in a]
    same = statistics.geometric_mean(both) if both else None
    noisy = bool(one.noisy_seeds() or other.noisy_seeds())
    return {
        "speed_ratio": ratio,
        "speed_low": low,
        "speed_high": high,
        "speed_same": same,
        "speed_verdict": speed_verdict(ratio, low, high, same, noisy=noisy),
    }
