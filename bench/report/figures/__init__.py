"""Figures from records. Nothing is measured here, so they can be redrawn at any time.

drawing    style, titles and saving, shared by all
accuracy   by seed, by depth, against time
cost       speed and memory
lengths    accuracy against the length of training
layers     values of layers from epoch to epoch, and after the last epoch
work       accuracy and time against the work of predictions, by image and class; gates by layer
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import seaborn as sns
from matplotlib.figure import Figure

from bench.records import Record
from bench.records.names import conditions_of, labels_of_cells, order
from bench.report.figures import accuracy, cost, layers, lengths, work
from bench.report.figures.drawing import Runs, save

__all__ = ["FIGURES", "draw_all", "save"]

FIGURES: dict[str, Callable[[Runs, dict[str, Any]], Figure | None]] = {
    "accuracy-by-seed": accuracy.by_seed,
    "accuracy-by-layer": accuracy.by_layer,
    "accuracy-against-time": accuracy.against_time,
    "error-by-length": lengths.against_length,
    "throughput-and-memory": cost.throughput_and_memory,
    "layer-by-layer": layers.by_epoch,
    "layer-values": layers.values,
    "accuracy-against-work": work.against_accuracy,
    "time-against-work": work.against_time,
    "work-by-image": work.by_image,
    "execution-by-layer": work.by_layer,
    "gates": work.gates,
}
"""Figure functions: (records with their names, a color per name) -> figure, or None if the records lack the data."""


def draw_all(records: Sequence[Record], out: Path) -> list[Path]:
    """Draw every figure that the records have data for, one set per task, as PNG files in ``out``."""
    done = sorted((record for record in records if record.status == "ok"), key=_place)
    if not done:
        return []
    out.mkdir(parents=True, exist_ok=True)
    sns.set_theme(style="whitegrid", context="notebook")
    paths = []
    for task in sorted({record.cell.task for record in done}):
        of_task = [record for record in done if record.cell.task == task]
        names = labels_of_cells([record.cell for record in of_task], brief=True)
        named = list(zip(names, of_task, strict=True))
        colors = dict(zip(sorted(set(names)), sns.color_palette("colorblind", len(set(names))), strict=True))
        for name, draw in FIGURES.items():
            figure = draw(named, colors)
            if figure is not None:
                paths.append(save(figure, out / f"{task}-{name}.png"))
    return paths


def _place(record: Record) -> tuple[Any, ...]:
    """Sort key of records: method, conditions, seed."""
    return *order(record.cell.method, conditions_of(record.cell)), record.cell.seed, record.id
