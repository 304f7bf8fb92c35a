"""``bench study``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import DataDirOption, FormatOption, OutputFormat


def study(
    name: Annotated[str, typer.Argument(help="A study's name; `bench list` shows them.")],
    task: Annotated[str | None, typer.Option(help="The task to study; default: the study's.")] = None,
    samples: Annotated[
        int | None, typer.Option(help="Number of its images; default: the study's.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed that draws the images.")] = 0,
    data_dir: DataDirOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for numbers and figures; default: results/studies/NAME.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the study; may be repeated.")
    ] = None,
    form: FormatOption = OutputFormat.RICH,
) -> None:
    """Run a study: a measurement other than a grid of training runs (loaders, robustness, ...)."""
    from rich.console import Console

    from bench import studies, tables
    from bench.methods.settings import parse_options

    target = out or Path("results/studies") / name
    options = parse_options(set_ or [])
    wanted = studies.get(name).samples if samples is None else samples
    record, figures = studies.run(name, studies.Request(task, wanted, seed, data_dir), target, options)
    tables.render(f"{name}, {record.task}", record.columns, record.rows, form.value, Console())
    for note in record.notes:
        print(f"note: {note}", file=sys.stderr)
    for path in figures:
        print(f"figure: {path}", file=sys.stderr)
