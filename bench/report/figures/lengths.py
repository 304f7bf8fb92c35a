"""Accuracy against the length of training, for runs that are equal otherwise, with its extrapolation."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from bench.records.names import conditions_of_cells, labels
from bench.report.figures.drawing import Runs, warn_of_machines

FEWEST = 3
"""Number of lengths needed to fit a curve."""
FURTHER = 10.0
"""A curve extends to this many times the longest training."""
PARTS = 1000


def against_length(runs: Runs, _colors: dict[str, Any]) -> Figure | None:
    """Test error after the last epoch against minutes of training, for whole schedules of several lengths.

    Both axes are logarithmic. The dashed line is a power law with a floor, if that fits better; it extends to ten times
    the longest training. There is none if the error does not fall.
    """
    lines = {key: points for key, points in points_by_line(runs).items() if len(points) >= FEWEST}
    if not lines:
        return None
    names = labels([(method, json.loads(conditions)) for method, _, conditions in lines])
    colors = sns.color_palette("colorblind", len(lines))
    figure, axes = plt.subplots(figsize=(8, 5))
    for ((_, strategy, _), points), label, color in zip(lines.items(), names, colors, strict=True):
        minutes, errors = zip(*points, strict=True)
        name = f"{label} / {strategy}: {100 - errors[-1]:.1f} %"
        if not falls(minutes, errors):
            axes.plot(minutes, errors, "o", color=color, label=name)
            continue
        further = np.geomspace(minutes[0], minutes[-1] * FURTHER, PARTS)
        reached = power_law(minutes, errors, further)
        axes.plot(minutes, errors, "o", color=color, label=f"{name}, at ten times {100 - reached[-1]:.1f} %")
        axes.plot(further, reached, "--", color=color)
    axes.set(xscale="log", yscale="log", xlabel="training time (minutes)", ylabel="test error (%)")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_title(f"Error by length of training: {runs[0][1].cell.task}")
    axes.legend()
    sns.move_legend(axes, "upper left", bbox_to_anchor=(0, -0.15), frameon=False, title="accuracy after the longest")
    warn_of_machines(figure, runs)
    return figure


def points_by_line(runs: Runs) -> dict[tuple[str, str, str], list[tuple[float, float]]]:
    """Minutes and test error in per cent, means over seeds, for each method, strategy and conditions but the epochs."""
    values: defaultdict[tuple[str, str, str], defaultdict[int, list[tuple[float, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    every = conditions_of_cells([record.cell for _, record in runs])
    for (_, record), whole in zip(runs, every, strict=True):
        assert record.training is not None  # noqa: S101 -- its status is ok
        conditions = {key: value for key, value in whole.items() if key != "epochs"}
        for part in record.strategies:
            key = record.cell.method, part.strategy, json.dumps(conditions, sort_keys=True)
            values[key][record.cell.epochs].append((record.training.seconds / 60, 100 - part.accuracy))
    return {
        key: [
            (fmean(minutes for minutes, _ in seeds), fmean(error for _, error in seeds))
            for _, seeds in sorted(by_epochs.items())
        ]
        for key, by_epochs in values.items()
    }


def falls(minutes: Sequence[float], errors: Sequence[float]) -> bool:
    """Whether a falling power law fits: errors above 0, different times, less error with more time."""
    if min(errors) <= 0 or len(set(minutes)) < FEWEST:
        return False
    return bool(np.polyfit(np.log(minutes), np.log(errors), 1)[0] < 0)


def power_law(minutes: Sequence[float], errors: Sequence[float], at: ArrayLike) -> NDArray[np.float64]:
    """Errors at other times by floor + a minutes^-b, least squares; the floor is searched on a grid of a thousand.

    Args:
        minutes: above 0, at least three different ones.
        errors: above 0, one per time.
        at: times above 0.
    """
    logs, values = np.log(minutes), np.asarray(errors)

    def fit(floor: float) -> tuple[float, float, NDArray[np.float64]]:
        slope, height = np.polyfit(logs, np.log(values - floor), 1)
        reached = floor + np.exp(height + slope * logs)
        return float(((reached - values) ** 2).sum()), floor, np.array([slope, height])

    floors = np.linspace(0, min(errors), PARTS, endpoint=False)
    _, floor, (slope, height) = min((fit(floor) for floor in floors), key=lambda found: found[0])
    return np.asarray(floor + np.exp(height + slope * np.log(at)))
