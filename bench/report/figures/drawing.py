"""Style, titles and saving of all figures."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.records import Record
from bench.records.names import machine_of

DPI = 150
Runs = Sequence[tuple[str, Record]]
"""Records with their names in a legend."""


def warn_of_machines(figure: Figure, runs: Runs) -> None:
    """Add a note below a figure of times if they are from several machines."""
    machines = sorted({machine_of(record) for _, record in runs})
    if len(machines) > 1:
        text = "times of several machines, which do not compare: " + "; ".join(machines)
        around = figure.get_tightbbox()  # in inches; includes legends outside the figure
        width, height = figure.get_size_inches()
        x, y = (around.x0 + around.x1) / 2 / width, around.y0 / height - 0.02
        figure.text(x, y, text, ha="center", va="top", fontsize=7, color="tab:red")


TOO_PALE = (6, 8)
"""Places in seaborn's palette "colorblind" of colors that thin lines on white paper cannot have."""
START = 7538
"""Of the checksum that decides on a method's color; with this one the methods of most suites have different ones."""


def colors_of(names: Mapping[str, str]) -> dict[str, Any]:
    """A color for each name: a method has the same one in all figures, unless two of a figure would share it.

    Its first name has that color; further ones, and methods whose color is taken, have those that are left.

    Args:
        names: the method of each name.
    """
    palette = [color for place, color in enumerate(sns.color_palette("colorblind")) if place not in TOO_PALE]
    first: dict[str, str] = {}
    for name in sorted(names):
        first.setdefault(names[name], name)
    free = [palette[place % len(palette)] for place in range(max(len(palette), len(names)))]
    colors: dict[str, Any] = {}
    for method, name in sorted(first.items()):
        own = palette[zlib.crc32(method.encode(), START) % len(palette)]
        colors[name] = own if own in free else free[0]
        free.remove(colors[name])
    for name in sorted(set(names) - set(colors)):
        colors[name] = free.pop(0)
    return colors


CELL = "cell:"
"""Begins the id that a part of a figure has in an SVG file if it shows one cell; what follows names the cell."""


def mark(artist: Artist, record: Record, part: str = "") -> None:
    """Note that an artist shows one cell, and a part of it such as a strategy: the HTML page links it to the cell."""
    artist.set_gid(f"{CELL}{record.id}:{part}")


def mark_lines(axes: Axes, drawn: Iterable[tuple[Record, str, Sequence[float], Sequence[float]]]) -> None:
    """The same for lines that another library drew: they are found by their points.

    Args:
        axes: with the lines.
        drawn: the cell, its part, and the coordinates of each line.
    """
    by_points = {(tuple(x), tuple(y)): (record, part) for record, part, x, y in drawn}
    for line in axes.lines:
        across, up = np.asarray(line.get_xydata(), dtype=float).T
        found = by_points.get((tuple(across.tolist()), tuple(up.tolist())))
        if found is not None:
            mark(line, *found)


FileFormat = Literal["png", "svg", "pdf"]
_WITHOUT_DATE: dict[str, dict[str, None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""Metadata of each format that make equal figures equal files."""


def save(figure: Figure, path: Path) -> Path:
    """Write a figure, in the format that the suffix says, atomically, and close it."""
    temporary = path.with_name(f".{path.name}")
    form = path.suffix.removeprefix(".")
    with mpl.rc_context({"svg.hashsalt": path.stem}):  # of the names of its parts
        figure.savefig(temporary, dpi=DPI, format=form, bbox_inches="tight", metadata=_WITHOUT_DATE[form])
    temporary.replace(path)
    plt.close(figure)
    return path


def title(runs: Runs, text: str) -> str:
    """A figure's title: its subject, task, epochs and seeds."""
    cells = [record.cell for _, record in runs]
    epochs = sorted({cell.epochs for cell in cells})
    seeds = len({cell.seed for cell in cells})
    lengths = " or ".join(str(n) for n in epochs) if len(epochs) <= 2 else f"{min(epochs)} to {max(epochs)}"
    return f"{text}: {cells[0].task}, {lengths} epochs, {seeds} seed{'s' if seeds > 1 else ''}"
