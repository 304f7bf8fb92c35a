"""The gate: checks a suite's records, confirms alarms with fresh seeds, prints verdicts, returns the exit status."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench import records, suites, tables
from bench.errors import ExitStatus, UserError
from bench.measure.environment import made_here, stale
from bench.records import Record
from bench.reference import check as checking
from bench.reference import confirm, golden, junit, measured
from bench.reference.measured import Measured
from bench.reference.verdicts import RED, Check
from bench.report import checks as rendering
from bench.running import local, opening, progress, rehearsal


def check_suite(
    name: str,
    *,
    runs: Path,
    form: tables.Format,
    junit_file: Path | None,
    confirming: bool,
    any_code: bool,
    data_dir: Path | None,
) -> int:
    """Compare a suite's records with its references, print the verdicts, return the exit status.

    An accuracy that is too low is an alarm; with ``confirming``, fresh seeds are run with the current code, and only an
    alarm that they confirm counts as a regression.

    Raises:
        UserError: for invalid input.
    """
    suite = suites.load(name)
    expected = suites.expected(suite)
    stored = measured.load(suite.name)
    found = records.read_all(runs)
    counted = checking.counted(expected, found.records, made_here(any_code=any_code))
    checks = checking.check(expected, counted, stored)
    if confirming and stored is not None and confirm.alarms(checks):
        checks = _confirmed(checks, counted, stored, suite.name, runs, data_dir)
    rendering.render(checks, form, Console())
    for note in [*stale(found.records), *records.notes(found)]:
        print(f"note: {note}", file=sys.stderr)
    if junit_file is not None:
        junit.write(junit_file, suite.name, checks)
    return status(checks)


def status(checks: Sequence[Check]) -> ExitStatus:
    """The exit status of a check; prints to standard error what was not measured, if that decides."""
    verdicts = {check.verdict for check in checks}
    if verdicts & RED:
        return ExitStatus.REGRESSION
    if "failed" in verdicts:
        return ExitStatus.CELL_FAILED
    missing = next((check for check in checks if check.verdict in ("not measured", "no reference")), None)
    if missing is not None:
        print(f"error: {missing.task} {missing.method} {missing.what}: {missing.note}", file=sys.stderr)
        return ExitStatus.NOTHING_MEASURED
    return ExitStatus.OK


def _confirmed(
    checks: list[Check], counted: Sequence[Record], stored: Measured, suite: str, runs: Path, data_dir: Path | None
) -> list[Check]:
    """The checks after running fresh seeds of the alarming methods, or with the reason why that failed."""
    console = Console(stderr=True)
    alarming = confirm.alarms(checks)
    cells = suites.with_starts(confirm.fresh_cells(alarming, counted, stored))
    for check in alarming:
        console.print(f"alarm: {check.method}/{check.strategy}: {check.note}", highlight=False, soft_wrap=True)
    console.print(f"{len(cells)} cells with fresh seeds decide", highlight=False)
    problems: list[str] = []
    fresh: list[Record] = []
    try:
        rehearsal.rehearse(cells, data_dir)
        records.prepare_folder(runs)
        with progress.watcher(console, suite, progress.titles(cells)) as watcher:
            outcomes = local.run_cells(
                cells, suite=suite, out=runs, data_dir=data_dir, watcher=watcher, current=made_here()
            )
        fresh = [outcome.record for outcome in outcomes if outcome.record is not None]
        problems = [outcome.problem for outcome in outcomes if outcome.problem is not None]
    except UserError as error:
        problems = [str(error)]
    return confirm.decide(checks, fresh, stored, problems[0] if problems else "they were not run")


def check_opening(name: str, *, threads: int | None, data_dir: Path | None, form: tables.Format) -> int:
    """Run the first steps of every method of a suite, and compare inputs and losses with the stored ones.

    Cells with a starting checkpoint are left out: their first steps come after a whole training.

    Raises:
        UserError: for invalid input.
    """
    suite = suites.load(name)
    every = suites.cells(suite, device="cpu", threads=threads, overrides=suites.Overrides(loader="memory", seeds=1))
    cells = [cell for cell in every if cell.start is None]
    stored = measured.load(suite.name)
    rehearsal.rehearse(cells, data_dir)
    checks = []
    for cell in cells:
        goldens = {part.seed: part for part in (stored.goldens if stored else []) if part.experiment == cell.experiment}
        empty = checking.blank(cell.task, cell.method, cell.experiment)
        try:
            taken = opening.take(cell, data_dir)
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 -- a plug-in may raise anything; the other methods are still checked
            checks.append(replace(empty, verdict="failed", note=f"{type(error).__name__}: {error}"))
        else:
            checks.append(golden.check(empty, [taken], goldens))
    rendering.render(checks, form, Console())
    return status(checks)
