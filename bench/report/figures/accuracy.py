"""Figures of accuracy: by seed, by depth, against time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from bench.records import Record
from bench.records.names import conditions_of, order
from bench.report.figures.drawing import Runs, mark, mark_lines, title, warn_of_machines
from bench.statistics import half_width


def by_seed(runs: Runs, _colors: dict[str, Any]) -> Figure | None:
    """Test accuracy of every seed, and the mean with its 95 % interval, per method or setting and strategy."""
    lines = seeds_by_line(runs)
    strategies = sorted({strategy for _, strategy in lines})
    palette = dict(zip(strategies, sns.color_palette("colorblind", len(strategies)), strict=True))
    most = max(len(values) for values in lines.values())
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.28 * len(lines)))
    for place, ((_, strategy), seeds) in enumerate(lines.items()):
        color = palette[strategy]
        for record, value in seeds:
            [dot] = axes.plot(value, place, ".", color=color, alpha=0.5)
            mark(dot, record, strategy)
        values = [value for _, value in seeds]
        axes.errorbar(fmean(values), place, xerr=half_width(values), fmt="D", markersize=5, capsize=4, color=color)
    fewer = {line: f" (n = {len(values)})" if len(values) < most else "" for line, values in lines.items()}
    axes.set_yticks(range(len(lines)), [f"{name} / {strategy}{fewer[name, strategy]}" for name, strategy in lines])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="test accuracy after the last epoch (%): seeds, mean, 95 % interval of the mean", ylabel="")
    axes.set_title(title(runs, "Accuracy"))
    return figure


def seeds_by_line(runs: Runs) -> dict[tuple[str, str], list[tuple[Record, float]]]:
    """Records with their test accuracies by name and strategy, in the order of method, strategy, and conditions."""

    def place_of(line: tuple[str, Record, int]) -> Any:
        _, record, place = line
        method, by_settings = order(record.cell.method, conditions_of(record.cell))
        return method, place, by_settings

    lines = [(name, record, place) for name, record in runs for place in range(len(record.strategies))]
    by_line: dict[tuple[str, str], list[tuple[Record, float]]] = {}
    for name, record, place in sorted(lines, key=place_of):
        part = record.strategies[place]
        by_line.setdefault((name, part.strategy), []).append((record, part.accuracy))
    return by_line


def by_layer(runs: Runs, colors: dict[str, Any]) -> Figure | None:
    """Validation accuracy of every layer's own prediction after the last epoch, by depth."""
    frame = pd.DataFrame(
        [
            {"layer": layer, "accuracy": accuracy, "method": name, "run": record.id}
            for name, record in runs
            if record.epochs[-1].layers
            for layer, accuracy in enumerate(record.epochs[-1].layers or [], start=1)
        ]
    )
    if frame.empty:
        return None
    figure, axes = plt.subplots(figsize=(7, 4.5))
    sns.lineplot(
        frame,
        x="layer",
        y="accuracy",
        hue="method",
        units="run",
        estimator=None,
        marker="o",
        palette=colors,
        ax=axes,
    )
    layers = [(record, record.epochs[-1].layers or []) for _, record in runs]
    mark_lines(axes, ((record, "layers", range(1, len(values) + 1), values) for record, values in layers))
    axes.set(xlabel="layer", ylabel="validation accuracy of the layer (%)", title=title(runs, "Accuracy by depth"))
    sns.move_legend(axes, "upper center", bbox_to_anchor=(0.5, -0.14), title=None, frameon=False)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    return figure


def against_time(runs: Runs, colors: dict[str, Any]) -> Figure | None:
    """Validation accuracy after each epoch against the training time until then, per strategy."""
    curves = [(name, record, *curve) for name, record in runs for curve in _curves(record)]
    lines = [
        {"seconds": seconds, "accuracy": accuracy, "method": name, "strategy": strategy, "run": record.id}
        for name, record, strategy, *points in curves
        for seconds, accuracy in zip(*points, strict=True)
    ]
    figure, axes = plt.subplots(figsize=(7, 4.5))
    sns.lineplot(
        pd.DataFrame(lines),
        x="seconds",
        y="accuracy",
        hue="method",
        style="strategy",
        units="run",
        estimator=None,
        markers=True,
        palette=colors,
        ax=axes,
    )
    mark_lines(axes, (curve[1:] for curve in curves))
    axes.set(
        xlabel="training time (s), evaluation and first batch left out",
        ylabel="validation accuracy (%)",
        title=title(runs, "Accuracy against training time"),
    )
    axes.set_ylim(*_zoom([line["accuracy"] for line in lines]))
    sns.move_legend(axes, "upper left", bbox_to_anchor=(1.02, 1))
    warn_of_machines(figure, runs)
    return figure


def _curves(record: Record) -> list[tuple[str, list[float], list[float]]]:
    """Each strategy of a cell, with the seconds of training after its epochs and its accuracies then."""
    elapsed = list(itertools.accumulate(epoch.seconds for epoch in record.epochs))
    found: dict[str, tuple[list[float], list[float]]] = {}
    for seconds, epoch in zip(elapsed, record.epochs, strict=True):
        for strategy, accuracy in epoch.validation.items():
            times, accuracies = found.setdefault(strategy, ([], []))
            times.append(seconds)
            accuracies.append(accuracy)
    return [(strategy, *points) for strategy, points in found.items()]


def _zoom(values: Sequence[float]) -> tuple[float, float]:
    """Limits that show the differences at the top: from a little below the lowest value, at most 30 points down."""
    top = max(values)
    low = max(min(values), top - 30)
    margin = max(0.5, (top - low) * 0.05)
    return low - margin, min(100.0, top + margin)
