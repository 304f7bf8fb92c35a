"""Figures from records. Nothing is measured here, so they can be redrawn at any time.

drawing    style, titles and saving, shared by all
accuracy   by seed, by depth, against time
cost       speed and memory
lengths    accuracy against the length of training
layers     values of layers from epoch to epoch, and after the last epoch
work       accuracy and time against the work of predictions, by image and class; gates by layer
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.figure import Figure

from bench import registry
from bench.errors import UserError
from bench.records import Record
from bench.records.names import conditions_of, labels_of_cells, order
from bench.report.figures import accuracy, cost, layers, lengths, work
from bench.report.figures.drawing import FileFormat, Runs, colors_of, save

__all__ = ["FIGURES", "GROUP", "Draw", "Runs", "draw_all", "drawn", "every", "get", "names", "save"]

Draw = Callable[[Runs, dict[str, Any]], Figure | None]
FIGURES: dict[str, Draw] = {
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
GROUP = "bench.figures"
"""The entry-point group of figures of other packages, of the same form."""


def names() -> list[str]:
    """Names of all figures: those above, and those of other packages."""
    return [*FIGURES, *registry.names(GROUP)]


def get(name: str) -> Draw:
    """The figure of a name; a UserError if it cannot be imported."""
    draw: Draw = FIGURES[name] if name in FIGURES else registry.load(GROUP, "figure", name)
    return draw


def every() -> dict[str, Draw]:
    """All figures by name: those above, and those of other packages.

    Raises:
        UserError: if one of another package cannot be imported.
    """
    return {name: get(name) for name in names()}


def drawn(records: Sequence[Record], wanted: Container[str] | None = None) -> Iterator[tuple[str, Figure]]:
    """The figures that the records have data for, one set per task; named by task and figure.

    Args:
        records: those that are not ok are left out.
        wanted: names of figures; None for all.

    Raises:
        UserError: if a figure of another package fails.
    """
    done = sorted((record for record in records if record.status == "ok"), key=_place)
    with mpl.rc_context():
        sns.set_theme(style="whitegrid", context="notebook")
        for task in sorted({record.cell.task for record in done}):
            of_task = [record for record in done if record.cell.task == task]
            names = labels_of_cells([record.cell for record in of_task], brief=True)
            named = list(zip(names, of_task, strict=True))
            colors = colors_of({name: record.cell.method for name, record in named})
            for name, draw in every().items():
                figure = _figure(name, draw, named, colors) if wanted is None or name in wanted else None
                if figure is not None:
                    yield f"{task}-{name}", figure


def _figure(name: str, draw: Draw, named: Runs, colors: dict[str, Any]) -> Figure | None:
    if name in FIGURES:
        return draw(named, colors)
    try:
        return draw(named, colors)
    except Exception as error:  # a plug-in may fail in any way
        raise UserError(f"figure {name!r} failed: {type(error).__name__}: {error}") from error


def draw_all(
    records: Sequence[Record],
    out: Path,
    form: FileFormat = "png",
    also: Callable[[str, Figure], None] | None = None,
) -> list[Path]:
    """Draw every figure that the records have data for as a file in ``out``, which is created if there is any.

    Args:
        records: see ``drawn``.
        out: a folder.
        form: of the files.
        also: what else gets each figure, with its name.
    """
    paths = []
    for name, figure in drawn(records):
        if also is not None:
            also(name, figure)
        out.mkdir(parents=True, exist_ok=True)
        paths.append(save(figure, out / f"{name}.{form}"))
    return paths


def _place(record: Record) -> tuple[Any, ...]:
    """Sort key of records: method, conditions, seed."""
    return *order(record.cell.method, conditions_of(record.cell)), record.cell.seed, record.id
