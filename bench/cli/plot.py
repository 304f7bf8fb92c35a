"""``bench plot``."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import RunsArgument
from bench.cli.table import nothing_measured
from bench.errors import ExitStatus
from bench.options import DEFAULT_RUNS


class FigureFormat(StrEnum):
    """Formats of figures."""

    PNG = "png"
    SVG = "svg"
    PDF = "pdf"


def plot(
    runs: RunsArgument = DEFAULT_RUNS,
    out: Annotated[Path | None, typer.Option(help="Folder for the figures; default: RUNS/figures.")] = None,
    form: Annotated[FigureFormat, typer.Option("--format", help="Of the files.")] = FigureFormat.PNG,
) -> int:
    """Draw the figures of all records in a folder of runs."""
    from bench import records
    from bench.report import figures

    found = records.read_all(runs)
    for note in records.notes(found):
        print(f"note: {note}", file=sys.stderr)
    target = out or runs / "figures"
    records.prepare_folder(target)
    paths = figures.draw_all(found.records, target, form.value)
    if not paths:
        return nothing_measured(runs)
    for path in paths:
        print(path)
    return ExitStatus.OK
