"""Figures from records; nothing is measured here, so each can be drawn again at any time."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib as mpl
import pandas as pd

from bench import settings
from bench.records import EpochRecord, Record
from bench.report import half_width
from bench.rows import conditions_of, labels

mpl.use("Agg")

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

DPI = 150
Runs = Sequence[tuple[str, Record]]
"""Records with the names that they have in a legend."""


def draw_all(records: Sequence[Record], out: Path) -> list[Path]:
    """Draw every figure that the records hold data for, one set per task, as PNG files in ``out``."""
    done = sorted((record for record in records if record.status == "ok"), key=lambda record: record.id)
    if not done:
        return []
    out.mkdir(parents=True, exist_ok=True)
    sns.set_theme(style="whitegrid", context="notebook")
    paths = []
    for task in sorted({record.cell.task for record in done}):
        of_task = [record for record in done if record.cell.task == task]
        names = labels([(record.cell.method, conditions_of(record.cell)) for record in of_task])
        named = list(zip(names, of_task, strict=True))
        colors = dict(zip(sorted(set(names)), sns.color_palette("colorblind", len(set(names))), strict=True))
        for name, draw in FIGURES.items():
            figure = draw(named, colors)
            if figure is not None:
                paths.append(save(figure, out / f"{task}-{name}.png"))
    return paths


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all, and let go of it."""
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, dpi=DPI, format="png", bbox_inches="tight")
    temporary.replace(path)
    plt.close(figure)
    return path


def accuracy_by_seed(runs: Runs, _colors: dict[str, Any]) -> Figure | None:
    """Test accuracy of every seed, and the mean with its 95 % interval, per method or setting and strategy."""
    lines = seeds_by_line(runs)
    strategies = sorted({strategy for _, strategy in lines})
    palette = dict(zip(strategies, sns.color_palette("colorblind", len(strategies)), strict=True))
    most = max(len(values) for values in lines.values())
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.28 * len(lines)))
    for place, ((_, strategy), values) in enumerate(lines.items()):
        color = palette[strategy]
        axes.plot(values, [place] * len(values), ".", color=color, alpha=0.5)
        axes.errorbar(fmean(values), place, xerr=half_width(values), fmt="D", markersize=5, capsize=4, color=color)
    fewer = {line: f" (n = {len(values)})" if len(values) < most else "" for line, values in lines.items()}
    axes.set_yticks(range(len(lines)), [f"{name} / {strategy}{fewer[name, strategy]}" for name, strategy in lines])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="test accuracy after the last epoch (%): seeds, mean, 95 % interval of the mean", ylabel="")
    axes.set_title(_title(runs, "Accuracy"))
    return figure


def seeds_by_line(runs: Runs) -> dict[tuple[str, str], list[float]]:
    """Test accuracies by name and strategy, in the order of method, strategy, and settings."""

    def order(line: tuple[str, Record, int]) -> Any:
        _, record, place = line
        whole = sorted(settings.filled(record.cell.method, record.cell.settings).items())
        values = [(0, value, "") if isinstance(value, int | float) else (1, 0, str(value)) for _, value in whole]
        return record.cell.method, place, values

    lines = [(name, record, place) for name, record in runs for place in range(len(record.strategies))]
    by_line: dict[tuple[str, str], list[float]] = {}
    for name, record, place in sorted(lines, key=order):
        part = record.strategies[place]
        by_line.setdefault((name, part.strategy), []).append(part.accuracy)
    return by_line


def accuracy_by_layer(runs: Runs, colors: dict[str, Any]) -> Figure | None:
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
    axes.set(xlabel="layer", ylabel="validation accuracy of the layer (%)", title=_title(runs, "Accuracy by depth"))
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    return figure


def accuracy_against_time(runs: Runs, colors: dict[str, Any]) -> Figure | None:
    """Validation accuracy after each epoch against the training time until then, per strategy."""
    lines: list[dict[str, Any]] = []
    for name, record in runs:
        elapsed = 0.0
        for epoch in record.epochs:
            elapsed += epoch.seconds
            lines += [
                {
                    "seconds": elapsed,
                    "accuracy": accuracy,
                    "method": name,
                    "strategy": strategy,
                    "run": record.id,
                }
                for strategy, accuracy in epoch.validation.items()
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
    axes.set(
        xlabel="training time (s), evaluation and first batch left out",
        ylabel="validation accuracy (%)",
        title=_title(runs, "Accuracy against training time"),
    )
    axes.set_ylim(*_zoom([line["accuracy"] for line in lines]))
    sns.move_legend(axes, "upper left", bbox_to_anchor=(1.02, 1))
    return figure


def throughput_and_memory(runs: Runs, colors: dict[str, Any]) -> Figure | None:
    """Training throughput, prediction throughput and peak memory, per method."""
    cells = pd.DataFrame(
        [
            {
                "method": name,
                "end to end": training.images_per_second,
                "compute only": training.images_per_second_compute,
                "resident (RSS)": None if training.peak_rss_bytes is None else training.peak_rss_bytes / 2**20,
                "live tensors": training.peak_live_bytes / 2**20,
            }
            for name, record in runs
            if (training := record.training) is not None
        ]
    )
    predictions = pd.DataFrame(
        [
            {"method": name, "strategy": part.strategy, "value": part.images_per_second}
            for name, record in runs
            for part in record.strategies
        ]
    )
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(16, 4.8))
    speed = cells.melt(id_vars="method", value_vars=["end to end", "compute only"], var_name="clock")
    sns.barplot(speed, y="method", x="value", hue="clock", errorbar=None, palette="muted", ax=left)
    left.set(ylabel="", xlabel="images per second", title="Training throughput")
    predictions["prediction"] = predictions["method"] + " / " + predictions["strategy"]
    sns.barplot(
        predictions, y="prediction", x="value", hue="method", errorbar=None, palette=colors, legend=False, ax=middle
    )
    middle.set(ylabel="", xlabel="images per second", title="Prediction throughput")
    memory = cells.melt(id_vars="method", value_vars=["resident (RSS)", "live tensors"], var_name="figure")
    sns.barplot(memory, y="method", x="value", hue="figure", errorbar=None, palette="muted", ax=right)
    right.set(ylabel="", xlabel="MiB", title="Peak memory of training")
    for axes in (left, right):
        sns.move_legend(axes, "upper center", bbox_to_anchor=(0.5, -0.16), ncol=2, title=None, frameon=False)
    for axes in (left, middle, right):
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
        axes.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    figure.suptitle(_title(runs, "Throughput and memory"))
    figure.tight_layout()
    return figure


def layer_by_layer(runs: Runs, _colors: dict[str, Any]) -> Figure | None:
    """What each layer does from epoch to epoch: accuracy, goodness, time and live memory; mean over seeds."""
    frame = pd.DataFrame(
        [
            {"method": name, "epoch": epoch.epoch, "layer": str(layer), "quantity": quantity, "value": value}
            for name, record in runs
            for epoch in record.epochs
            for quantity, values in _layer_quantities(epoch).items()
            for layer, value in enumerate(values, start=1)
        ]
    )
    if frame.empty:
        return None
    grid = sns.relplot(
        frame,
        x="epoch",
        y="value",
        hue="layer",
        row="quantity",
        col="method",
        kind="line",
        marker="o",
        errorbar=None,
        palette="viridis",
        height=2.2,
        aspect=1.4,
        facet_kws={"sharey": "row", "sharex": True},
    )
    grid.set_titles("")
    for axes, method in zip(grid.axes[0], grid.col_names, strict=True):
        axes.set_title(method)
    for axes, quantity in zip(grid.axes[:, 0], grid.row_names, strict=True):
        axes.set_ylabel(quantity)
    for axes in grid.axes.flat:
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    grid.figure.suptitle(_title(runs, "Layer by layer"), y=1.03)
    figure: Figure = grid.figure
    return figure


def _layer_quantities(epoch: EpochRecord) -> dict[str, Sequence[float]]:
    known: dict[str, Sequence[float] | None] = {
        "validation\naccuracy (%)": epoch.layers,
        "mean goodness": epoch.layer_goodness,
        "ms per step": [1e3 * value for value in epoch.layer_seconds or ()],
        "live MiB": [value / 2**20 for value in epoch.layer_live_bytes or ()],
    }
    return {quantity: values for quantity, values in known.items() if values}


def layer_values(runs: Runs, _colors: dict[str, Any]) -> Figure | None:
    """What layers have to show after the last epoch, by depth: density, mean and deviation, all seeds together."""
    frame = pd.DataFrame(
        [
            {"method": name, "quantity": quantity, "layer": layer, "value": value}
            for name, record in runs
            for quantity, of_layers in record.layer_values.items()
            for layer, values in enumerate(of_layers, start=1)
            for value in values
        ]
    )
    if frame.empty:
        return None
    panels = frame[["quantity", "method"]].drop_duplicates().to_numpy().tolist()
    columns = min(3, len(panels))
    figure, grid = plt.subplots(
        math.ceil(len(panels) / columns), columns, figsize=(5 * columns, 3.2 * math.ceil(len(panels) / columns)),
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for axes, (quantity, method) in zip(grid.flat, panels, strict=False):
        shown = frame[(frame["quantity"] == quantity) & (frame["method"] == method)]
        sns.violinplot(
            shown, x="layer", y="value", inner=None, color="lightsteelblue", linewidth=0, density_norm="width", ax=axes
        )
        sns.pointplot(
            shown, x="layer", y="value", errorbar="sd", linestyle="none", color="black", markersize=4, ax=axes
        )
        axes.axhline(0, color="grey", linewidth=1)
        axes.set(ylabel=f"{quantity}: density, mean, deviation", xlabel="layer")
        axes.set_title("\n".join(textwrap.wrap(method, 46)), fontsize=10)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    figure.suptitle(_title(runs, "Values by depth"))
    return figure


FIGURES: dict[str, Callable[[Runs, dict[str, Any]], Figure | None]] = {
    "accuracy-by-seed": accuracy_by_seed,
    "accuracy-by-layer": accuracy_by_layer,
    "accuracy-against-time": accuracy_against_time,
    "throughput-and-memory": throughput_and_memory,
    "layer-by-layer": layer_by_layer,
    "layer-values": layer_values,
}


def _title(runs: Runs, text: str) -> str:
    cells = [record.cell for _, record in runs]
    epochs = sorted({cell.epochs for cell in cells})
    seeds = len({cell.seed for cell in cells})
    lengths = " or ".join(str(number) for number in epochs)
    return f"{text}: {cells[0].task}, {lengths} epochs, {seeds} seed{'s' if seeds > 1 else ''}"


def _zoom(values: Sequence[float]) -> tuple[float, float]:
    """Limits that show the differences at the top: from a little below the lowest value, at most 30 points down."""
    top = max(values)
    low = max(min(values), top - 30)
    margin = max(0.5, (top - low) * 0.05)
    return low - margin, min(100.0, top + margin)
