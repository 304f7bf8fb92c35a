"""``bench report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.records import Record
    from bench.reference.verdicts import Check
    from bench.report.page import About, Source


def report(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders of runs, or of such folders.", metavar="FOLDER...")
    ] = None,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("report.html"),
) -> None:
    """Write one HTML file that shows runs in any browser, without a network."""
    from bench import records
    from bench.options import DEFAULT_RUNS
    from bench.report import page

    every = [folder for place in folders or [DEFAULT_RUNS] for folder in records.folders(place)]
    print(page.write([_checked(folder) for folder in every], out))


def _checked(folder: Path) -> Source:
    """A folder of runs, with verdicts if its records are of one suite that has references."""
    from dataclasses import replace

    from bench.errors import UserError
    from bench.report import page

    source = page.read(folder)
    checks: Sequence[Check] = ()
    unchecked = ""
    try:
        checks = _verdicts(folder, source.found.records)
    except UserError as error:
        unchecked = f"Not checked against references: {error}."
    return replace(source, checks=checks, unchecked=unchecked, methods=known(source.found.records))


def _verdicts(folder: Path, records: Sequence[Record]) -> Sequence[Check]:
    """Verdicts on records of a single suite that has references; an alarm is not confirmed."""
    from bench.reference import measured

    names = {record.suite for record in records if not record.overrides}
    if len(names) != 1 or (stored := measured.load(*names)) is None:
        return ()
    from rich.console import Console

    from bench.running import gate

    return gate.check_suite(stored.suite, runs=folder, confirming=False, console=Console(stderr=True)).checks


def known(records: Iterable[Record]) -> dict[str, About]:
    """What the methods of records say of themselves, where they are installed."""
    from bench import methods
    from bench.methods import settings
    from bench.report.page import About

    return {
        name: About(methods.about(name), settings.complete(name, {}))
        for name in sorted({record.cell.method for record in records})
        if name in methods.names()
    }
