"""``bench table``, ``bench fill`` and ``bench describe``: tables of records, and what they need of a method."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import OutputFormat, RunsArgument, TableFormat
from bench.errors import ExitStatus, UserError
from bench.options import DEFAULT_RUNS, names_in


def table(
    runs: RunsArgument = DEFAULT_RUNS,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with exit status 1 if a row was made by other code than is here.")
    ] = False,
    accuracies: Annotated[
        bool, typer.Option("--accuracies", help="Only accuracies, one line per setting, one column per strategy.")
    ] = False,
    columns: Annotated[
        str | None, typer.Option(help="Only these columns of numbers, separated by commas; a wrong one lists all.")
    ] = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="All columns, in parts below each other where a terminal is too narrow.")
    ] = False,
    target: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT",
            help="Only what it cost to reach this validation accuracy: epochs, minutes, FLOPs, energy; "
            "and the accuracy at equal time.",
        ),
    ] = None,
    form: Annotated[
        TableFormat, typer.Option("--format", help="Output format; latex is for the packages booktabs and siunitx.")
    ] = TableFormat.RICH,
) -> int:
    """Print the table of all records in a folder of runs."""
    from rich.console import Console

    from bench import records
    from bench.report import latex, rows, targets
    from bench.report import table as report

    if target is not None:
        if not 0 < target <= 100:
            raise UserError(f"--target must be above 0 and at most 100, got {target:g}")
        if accuracies or form is TableFormat.LATEX:
            raise UserError("--target is a table of its own: it goes with neither --accuracies nor --format latex")
    found = records.read_all(runs)
    for note in records.notes(found):
        print(f"note: {note}", file=sys.stderr)
    made = rows.make(found)
    if not made:
        return nothing_measured(runs)
    if form is TableFormat.LATEX:
        sys.stdout.write((latex.of_accuracies if accuracies else latex.of_rows)(made))
    else:
        plain, console = OutputFormat(form.value), Console()
        if target is not None:
            targets.render(found, target, plain.value, console)
        elif accuracies:
            report.render_accuracies(made, plain.value, console)
        else:
            report.render_rows(made, plain.value, console, columns=names_in(columns), wide=wide)
    return ExitStatus.REGRESSION if strict and any(row.current is False for row in made) else ExitStatus.OK


def nothing_measured(runs: Path) -> int:
    """Print that a folder has no results; return the exit status."""
    print(f"error: nothing was measured in {runs}", file=sys.stderr)
    return ExitStatus.NOTHING_MEASURED


def fill(
    pages: Annotated[list[Path], typer.Argument(help="Markdown files with markers, such as README.md.")],
) -> None:
    """Update the tables in Markdown pages, between <!-- table: FOLDER --> and <!-- end of table -->, from records."""
    from bench.report import pages as filling

    for page in pages:
        print(f"{page}: {filling.fill(page, Path())} tables")


def describe(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs.", metavar="FOLDER...")],
) -> None:
    """Add to older records what their methods say of them, which tables and figures show; newer records have it."""
    from bench.suites import describe as describing

    for folder in folders:
        done = describing.complete(folder)
        missing = f", {done.without_method} of methods that are not installed" if done.without_method else ""
        print(f"{folder}: {done.described} of {done.records} records described now{missing}")
