"""Figures from records; nothing is measured here, so each can be drawn again at any time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd

from bench.records import Record

mpl.use("Agg")

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

DPI = 150
SEED_COLUMN = "seed"


def draw_all(records: Sequence[Record], out: Path) -> list[Path]:
    """Draw every figure that the records hold data for, one set per task, as PNG files in ``out``."""
    done = sorted((record for record in records if record.status == "ok"), key=lambda record: record.id)
    if not done:
        return []
    out.mkdir(parents=True, exist_ok=True)
    sns.set_theme(style="whitegrid", context="notebook")
    colors = _colors(records)
    paths = []
    for task in sorted({record.cell.task for record in done}):
        of_task = [record for record in done if record.cell.task == task]
        for name, draw in FIGURES.items():
            figure = draw(of_task, colors)
            if figure is not None:
                path = out / f"{task}-{name}.png"
                temporary = path.with_name(f".{path.name}")
                figure.savefig(temporary, dpi=DPI, format="png", bbox_inches="tight")
                temporary.replace(path)
                plt.close(figure)
                paths.append(path)
    return paths


def accuracy_by_layer(records: Sequence[Record], colors: dict[str, Any]) -> Figure | None:
    """Validation accuracy of every layer's own prediction after the last epoch, by depth."""
    frame = pd.DataFrame(
        [
            {"layer": layer, "accuracy": accuracy, "method": record.cell.method, SEED_COLUMN: record.cell.seed}
            for record in records
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
        units=SEED_COLUMN,
        estimator=None,
        marker="o",
        palette=colors,
        ax=axes,
    )
    axes.set(xlabel="layer", ylabel="validation accuracy of the layer (%)", title=_title(records, "Accuracy by depth"))
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    return figure


def accuracy_against_time(records: Sequence[Record], colors: dict[str, Any]) -> Figure | None:
    """Validation accuracy after each epoch against the training time until then, per strategy."""
    lines: list[dict[str, Any]] = []
    for record in records:
        elapsed = 0.0
        for epoch in record.epochs:
            elapsed += epoch.seconds
            lines += [
                {
                    "seconds": elapsed,
                    "accuracy": accuracy,
                    "method": record.cell.method,
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
        title=_title(records, "Accuracy against training time"),
    )
    axes.set_ylim(*_zoom([line["accuracy"] for line in lines]))
    sns.move_legend(axes, "upper left", bbox_to_anchor=(1.02, 1))
    return figure


def throughput_and_memory(records: Sequence[Record], colors: dict[str, Any]) -> Figure | None:
    """Training throughput, prediction throughput and peak memory, per method."""
    cells = pd.DataFrame(
        [
            {
                "method": record.cell.method,
                "end to end": training.images_per_second,
                "compute only": training.images_per_second_compute,
                "resident (RSS)": training.peak_rss_bytes / 2**20,
                "live tensors": training.peak_live_bytes / 2**20,
            }
            for record in records
            if (training := record.training) is not None
        ]
    )
    predictions = pd.DataFrame(
        [
            {"method": record.cell.method, "strategy": part.strategy, "value": part.images_per_second}
            for record in records
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
    figure.suptitle(_title(records, "Throughput and memory"))
    figure.tight_layout()
    return figure


FIGURES: dict[str, Callable[[Sequence[Record], dict[str, Any]], Figure | None]] = {
    "accuracy-by-layer": accuracy_by_layer,
    "accuracy-against-time": accuracy_against_time,
    "throughput-and-memory": throughput_and_memory,
}


def _colors(records: Sequence[Record]) -> dict[str, Any]:
    """One colour per method, the same in all figures."""
    names = sorted({record.cell.method for record in records})
    return dict(zip(names, sns.color_palette("colorblind", len(names)), strict=True))


def _title(records: Sequence[Record], text: str) -> str:
    first = records[0].cell
    seeds = len({record.cell.seed for record in records})
    return f"{text}: {first.task}, {first.epochs} epochs, {seeds} seed{'s' if seeds > 1 else ''}"


def _zoom(values: Sequence[float]) -> tuple[float, float]:
    """Limits that show the differences at the top: from a little below the lower quartile, at most 30 points down."""
    top = max(values)
    low = max(min(values), top - 30)
    margin = max(0.5, (top - low) * 0.05)
    return low - margin, min(100.0, top + margin)
