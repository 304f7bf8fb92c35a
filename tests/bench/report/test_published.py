"""The table of published figures beside our records."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.reference import published as figures
from bench.report import published

ROOT = Path(__file__).parents[3]
FIGURE = figures.Published(
    "CwC", "CFSE", "MNIST", "top1", 99.0, of="small, softmax", strategy="softmax", augmentation=("shift",),
    network={"channels": [20, 40]}, epochs=5, selection="last",
)  # fmt: skip


def record(suite="mine", *, accuracy=98.0, epochs=5, augmentation=("shift",), seed=0, **settings):
    described = SimpleNamespace(settings={"channels": (20, 40)} | settings)
    cell = SimpleNamespace(
        described=described, augmentation=augmentation, epochs=epochs, train_samples=None, seed=seed,
        experiment=str((epochs, augmentation, settings)),
    )  # fmt: skip
    strategies = [
        SimpleNamespace(strategy=name, accuracy=accuracy - less, accuracy_at_best_validation=accuracy - less + 0.3)
        for name, less in (("softmax", 0.0), ("goodness", 2.0))
    ]
    return SimpleNamespace(suite=suite, cell=cell, overrides={}, strategies=strategies)


def test_the_closest_record_stands_beside_a_figure_as_the_mean_of_its_seeds():
    beside = [
        record("other", accuracy=99.5, channels=(10, 20)),
        record(accuracy=98.0),
        record(accuracy=98.4, seed=1),
        record("long", accuracy=99.9, epochs=50, augmentation=()),
    ]
    ours = published._closest(FIGURE, beside)
    assert (ours.suite, ours.strategy, ours.differs) == ("mine", "softmax", [])
    assert ours.gaps == pytest.approx([-1.0, -0.6])
    line = dict(zip(published.COLUMNS, published._line(FIGURE, ours), strict=True))
    assert line["ours %"] == "98.20 (mine, softmax, 2 seeds)"
    assert (line["gap"], line["differs"], line["epoch chosen"]) == ("-0.80", "same", "last")


def test_what_differs_is_said_and_no_gap_is_given():
    ours = published._closest(FIGURE, [record(channels=(10, 20), augmentation=(), epochs=3)])
    line = dict(zip(published.COLUMNS, published._line(FIGURE, ours), strict=True))
    assert line["differs"] == "network; augmentation none; 3 epochs"
    assert line["gap"] == "-"


def test_no_gap_is_given_across_networks_strategies_or_augmentations():
    for line in published.lines(ROOT / "results"):
        beside = dict(zip(published.COLUMNS, line, strict=True))
        if beside["gap"] != "-":
            parts = beside["differs"].split("; ")
            assert not any(part.startswith(("network", "strategy", "augmentation")) for part in parts)
