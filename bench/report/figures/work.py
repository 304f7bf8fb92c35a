"""Figures of the work of predictions, if it depends on the image."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from bench.records import OPEN, Record, WorkRecord
from bench.records.names import family_of, machine_of
from bench.report.figures.drawing import Runs, title, warn_of_machines
from bench.statistics import half_width

ABOVE = 1.06
"""End of an axis from 0, relative to the largest value, so that its point is not cut."""
MARKERS = "osD^vP*X<>"
"""Markers that distinguish points of one kind of gates, which share a color."""


def against_accuracy(runs: Runs, _colors: dict[str, Any]) -> Figure | None:
    """Test accuracy against the mean work of a prediction: means over seeds, accuracy with its 95 % interval.

    The small points are the seeds. Each kind of gates has a color.
    """
    points = _by_name(runs)
    if len(points) < 2:
        return None
    families = sorted({family_of(records[0].cell) for records in points.values()})
    palette = dict(zip(families, sns.color_palette("colorblind", len(families)), strict=True))
    figure, axes = plt.subplots(figsize=(9, 6))
    drawn: dict[str, int] = {}
    for name, records in points.items():
        of = family_of(records[0].cell)
        drawn[of] = drawn.get(of, -1) + 1
        macs = [_work(record).macs / 1e6 for record in records]
        accuracies = [record.strategies[0].accuracy for record in records]
        axes.plot(macs, accuracies, ".", color=palette[of], alpha=0.4)
        axes.errorbar(
            fmean(macs), fmean(accuracies), yerr=half_width(accuracies), fmt=MARKERS[drawn[of] % len(MARKERS)],
            markersize=7, capsize=3, color=palette[of], label=name,
        )  # fmt: skip
    axes.set(xlabel="million multiply-accumulates per test image, gates included", ylabel="test accuracy (%)")
    axes.set_xlim(left=0)
    axes.set_title(title(runs, "Accuracy against executed work"))
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def against_time(runs: Runs, _colors: dict[str, Any]) -> Figure | None:
    """Measured time of a prediction against its work: one point per record, a marker for each machine."""
    frame = pd.DataFrame(
        [
            {
                "million multiply-accumulates per test image": record.work.macs / 1e6,
                "ms per image": 1e3 / record.strategies[0].images_per_second,
                "method": family_of(record.cell),
                "machine": machine_of(record),
            }
            for _, record in runs
            if record.work is not None
        ]
    )
    if len(frame) < 2:
        return None
    figure, axes = plt.subplots(figsize=(7, 4.5))
    style = "machine" if len(set(frame["machine"])) > 1 else None
    sns.scatterplot(
        frame, x=frame.columns[0], y="ms per image", hue="method", style=style, palette="colorblind", ax=axes
    )
    axes.set(xlim=(0, ABOVE * frame.iloc[:, 0].max()), ylim=(0, ABOVE * frame["ms per image"].max()))
    axes.set_title(title(runs, "Time against executed work"))
    sns.move_legend(axes, "upper left", bbox_to_anchor=(1, 1), frameon=False)
    warn_of_machines(figure, runs)
    return figure


def by_layer(runs: Runs, _colors: dict[str, Any]) -> Figure | None:
    """How often each layer runs, by class of the image: means over seeds, one panel per method or setting."""
    shown = {
        name: records
        for name, records in _by_name(runs).items()
        if any(share < 1 for record in records for share in _work(record).layers)
    }
    if not shown:
        return None
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(5.5 * columns, 3.4 * lines), squeeze=False, layout="constrained"
    )
    for axes, (name, records) in zip(grid.flat, shown.items(), strict=False):
        rates = np.mean([_by_class(_work(record)) for record in records], axis=0)
        sns.heatmap(
            pd.DataFrame(rates, index=range(1, len(rates) + 1), columns=_classes(records[0], rates.shape[1])),
            vmin=0,
            vmax=1,
            cmap="viridis",
            cbar_kws={"label": "share that runs"},
            ax=axes,
        )
        axes.set(xlabel="class", ylabel="block")
        axes.tick_params(axis="x", rotation=90)
        axes.tick_params(axis="y", rotation=0)
        axes.set_title(name, fontsize=9)
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_visible(False)
    figure.suptitle(title(_runs(shown), "Execution by block and class"))
    return figure


def by_image(runs: Runs, _colors: dict[str, Any]) -> Figure | None:
    """Distribution of the work of a prediction over test images: quantiles, and means by class and by correctness.

    All values are means over seeds.
    """
    shown = {
        name: records
        for name, records in _by_name(runs).items()
        if any(_work(record).macs_deviation > 0 for record in records)
    }
    if not shown:
        return None
    figure, axes = plt.subplots(figsize=(9, 1.8 + 0.5 * len(shown)), layout="constrained")
    boxes = []
    for place, (name, records) in enumerate(shown.items(), start=1):
        work = [_work(record) for record in records]
        low, q1, median, q3, high = np.mean([each.macs_quantiles for each in work], axis=0)[1:-1] / 1e6
        boxes.append({"label": name, "whislo": low, "q1": q1, "med": median, "q3": q3, "whishi": high})
        points: dict[tuple[str, str, str, int], Sequence[Sequence[float | None]]] = {
            ("mean of a class", "o", "0.4", 12): list(zip(*(each.macs_by_class for each in work), strict=True)),
            ("mean of those predicted right", "^", "tab:green", 60): [[each.macs_of_right for each in work]],
            ("mean of those predicted wrong", "X", "tab:red", 60): [[each.macs_of_wrong for each in work]],
        }
        for (label, marker, color, size), by_seed in points.items():
            found = ([value / 1e6 for value in values if value is not None] for values in by_seed)
            known = [fmean(values) for values in found if values]
            axes.scatter(
                known,
                [place] * len(known),
                s=size,
                c=color,
                marker=marker,
                label=label if place == 1 else None,
                zorder=3,
            )
    axes.bxp(boxes, orientation="horizontal", showfliers=False, widths=0.6)
    axes.invert_yaxis()
    axes.set(xlabel="million multiply-accumulates per test image; boxes to 25 and 75 %, whiskers to 5 and 95 %")
    axes.set_title(title(_runs(shown), "Executed work by image"), fontsize=11)
    figure.legend(loc="outside lower center", ncol=3, frameon=False)
    return figure


def gates(runs: Runs, _colors: dict[str, Any]) -> Figure | None:
    """Shares of the gates that are always open, never open, or depend on the image: on validation data, all seeds.

    A block that always runs counts as a gate that is always open.
    """
    lines, shown = [], []
    for name, records in _by_name(runs).items():
        shares = [share for record in records for layer in record.layer_values.get(OPEN, []) for share in layer]
        if shares:
            lines.append({"method": name, **shares_of(shares)})
            shown += [(name, record) for record in records]
    if not lines:
        return None
    frame = pd.DataFrame(lines).set_index("method")
    figure, axes = plt.subplots(figsize=(8, 1.6 + 0.4 * len(frame)), layout="constrained")
    frame.plot.barh(stacked=True, color=sns.color_palette("colorblind", 3), ax=axes, legend=False)
    axes.invert_yaxis()
    axes.set(xlabel="share of the gates", ylabel="", xlim=(0, 1), title=title(shown, "Gates"))
    figure.legend(loc="outside lower center", ncol=3, frameon=False)
    return figure


def shares_of(shares: Sequence[float]) -> dict[str, float]:
    """From the share of images for which each gate is open: shares of gates that are always, sometimes, never open."""
    count = len(shares)
    always, never = sum(share == 1 for share in shares), sum(share == 0 for share in shares)
    return {"always open": always / count, "conditional": (count - always - never) / count, "never open": never / count}


def _by_name(runs: Runs) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for name, record in runs:
        if record.work is not None:
            found.setdefault(name, []).append(record)
    return found


def _by_class(work: WorkRecord) -> np.ndarray:
    """How often each layer runs, (layers, classes); NaN for a class without images."""
    nothing = [np.nan] * len(work.layers)
    return np.array([shares or nothing for shares in work.layers_by_class]).T


def _classes(record: Record, number: int) -> list[str | int]:
    """The names of a task's classes, or their numbers if the record has none."""
    names = () if record.cell.described is None else record.cell.described.class_names
    return list(names if len(names) == number else range(number))


def _runs(shown: dict[str, list[Record]]) -> Runs:
    return [(name, record) for name, records in shown.items() for record in records]


def _work(record: Record) -> WorkRecord:
    assert record.work is not None  # noqa: S101 -- see _by_name
    return record.work
