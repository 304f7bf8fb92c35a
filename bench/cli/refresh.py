"""``bench refresh``: measures again what other code has made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import DataDirOption, FormatOption, OutputFormat
from bench.errors import ExitStatus


def refresh(
    runs: Annotated[Path, typer.Argument(help="Folder of runs.", metavar="FOLDER")],
    dry: Annotated[
        bool,
        typer.Option("--dry-run", help="Print which cells would run, and how long they took, without running any."),
    ] = False,
    data_dir: DataDirOption = None,
    form: FormatOption = OutputFormat.RICH,
) -> int:
    """Measure again the records of a folder that other code has made than is here; the others stay."""
    from rich.console import Console

    from bench import tables
    from bench.running import progress, refresh

    old = refresh.stale(runs)
    if dry:
        lines: list[list[str | float | None]] = [[r.id, _round(refresh.minutes(r))] for r in old]
        total = sum(refresh.minutes(record) or 0 for record in old)
        title = f"{runs}: {len(old)} records of other code; their training took {total:,.0f} minutes"
        tables.render(title, ["cell", "minutes"], lines, form.value, Console())
        return ExitStatus.OK
    console = progress.console()
    outcomes = refresh.run(runs, old, data_dir, console)
    bad = [outcome for outcome in outcomes if outcome.record is None or outcome.record.status != "ok"]
    for outcome in bad:
        console.print(f"error: {outcome.cell.id}: {outcome.problem}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"{runs}: {len(outcomes) - len(bad)} of {len(old)} records measured again", highlight=False)
    if any(outcome.bad_input for outcome in bad):
        return ExitStatus.BAD_INPUT
    return ExitStatus.CELL_FAILED if bad else ExitStatus.OK


def _round(minutes: float | None) -> float | None:
    return None if minutes is None else round(minutes, 1)
