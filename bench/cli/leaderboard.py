"""``bench leaderboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import FormatOption, OutputFormat


def leaderboard(
    folders: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folders of runs, or of such folders; several joined by + are one board. Default: results.",
            metavar="FOLDER...",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write an HTML page instead of printing.")] = None,
    form: FormatOption = OutputFormat.RICH,
) -> None:
    """Print who is ahead, task by task and budget by budget; methods that cannot be told apart share a place."""
    from rich.console import Console

    from bench import records, tables
    from bench.report import leaderboard as boards
    from bench.report import page

    found = boards.boards(folders or ["results"])
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        records.write_text(out, page.leaderboard(found))
        print(out)
        return
    console = Console()
    if form.value in ("csv", "json"):
        header = ["board", *boards.HEADER]
        lines: list[list[str | float | None]] = [[each.title, *line.cells] for each in found for line in each.lines]
        tables.render("", header, lines, form.value, console)
        return
    for number, board in enumerate(found):
        console.file.write("\n" if number else "")
        lines_of = [line.cells for line in board.lines]
        tables.print_table(console, form.value, board.title, boards.HEADER, lines_of, board.notes, keys=3)
