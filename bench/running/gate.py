"""The gate: checks a suite's records against its references, and confirms alarms with the reference's seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import pandas as pd
from rich.console import Console

from bench import records, suites
from bench.errors import ExitStatus, UserError
from bench.measure.environment import made_here, stale
from bench.options import DEFAULT_RUNS, Overrides, RunOptions
from bench.records import Record, names
from bench.reference import check as checking
from bench.reference import confirm, golden, measured
from bench.reference.measured import Measured
from bench.reference.verdicts import RED, Check
from bench.running import local, opening, progress, rehearsal


@dataclass(frozen=True)
class Verdicts:
    """The verdicts on a suite, one per row and per cell.

    Attributes:
        suite: its name.
        checks: one per row and per cell, see ``bench.reference.verdicts.Check``.
        notes: sentences about outdated or unreadable records.
    """

    suite: str
    checks: Sequence[Check]
    notes: Sequence[str] = ()

    @property
    def ok(self) -> bool:
        """Whether everything was measured, has a reference, and agrees with it."""
        return self.status == ExitStatus.OK

    def frame(self) -> pd.DataFrame:
        """One row per verdict, as a data frame."""
        return pd.DataFrame([asdict(check) for check in self.checks], columns=[field.name for field in fields(Check)])

    @property
    def missing(self) -> Check | None:
        """The first row that was not measured or has no reference."""
        return next((check for check in self.checks if check.verdict in ("not measured", "no reference")), None)

    @property
    def status(self) -> ExitStatus:
        """The exit status of a gate: a regression first, then what failed, then what is missing."""
        verdicts = {check.verdict for check in self.checks}
        if verdicts & RED:
            return ExitStatus.REGRESSION
        if "failed" in verdicts:
            return ExitStatus.CELL_FAILED
        return ExitStatus.OK if self.missing is None else ExitStatus.NOTHING_MEASURED


def check_suite(
    name: str,
    *,
    runs: Path = DEFAULT_RUNS,
    confirming: bool = True,
    any_code: bool = False,
    data_dir: Path | None = None,
    console: Console,
) -> Verdicts:
    """Compare a suite's records with its references.

    Args:
        name: a suite's name, or a TOML file.
        runs: folder of runs.
        confirming: confirm alarms: run the reference's seeds again, with the current code, if an accuracy is too low,
            and count only confirmed alarms as regressions.
        any_code: also count records made by a different version of the code.
        data_dir: folder of the data sets, for the reference's seeds.
        console: for their progress.

    Raises:
        UserError: for invalid input.
    """
    suite = suites.load(name)
    expected = suites.expected(suite)
    stored = measured.load(suite.name)
    found = records.read_all(runs)
    counted = checking.counted(expected, found.records, made_here(any_code=any_code))
    checks = checking.verdicts(expected, counted, stored)
    if confirming and stored is not None and confirm.alarms(checks):
        options = RunOptions(suite.name, out=runs, data_dir=data_dir)
        checks = _confirmed(checks, counted, stored, options, console)
    return Verdicts(suite.name, checks, [*stale(found.records), *records.notes(found)])


def _confirmed(
    checks: list[Check], counted: Sequence[Record], stored: Measured, options: RunOptions, console: Console
) -> list[Check]:
    """The checks after running the reference's seeds of the alarming methods, or with the reason why that failed."""
    alarming = confirm.alarms(checks)
    cells = suites.with_starts(confirm.repeated_cells(alarming, counted, stored))
    for check in alarming:
        console.print(f"alarm: {check.method}/{check.strategy}: {check.note}", highlight=False, soft_wrap=True)
    console.print(f"{len(cells)} cells with the reference's seeds decide", highlight=False)
    problems: list[str] = []
    repeated: list[Record] = []
    try:
        rehearsal.rehearse(cells, options.data)
        records.prepare_folder(options.runs)
        with progress.watcher(console, options.suite, names.titles(cells)) as watcher:
            outcomes = local.run_cells(cells, options, watcher=watcher)
        repeated = [outcome.record for outcome in outcomes if outcome.record is not None]
        problems = [outcome.problem for outcome in outcomes if outcome.problem is not None]
    except UserError as error:
        problems = [str(error)]
    return confirm.decide(checks, counted, repeated, stored, problems[0] if problems else "they were not run")


def check_opening(name: str, *, threads: int | None = None, data_dir: Path | None = None) -> Verdicts:
    """Run the first steps of every method of a suite, and compare inputs and losses with the stored ones.

    Cells with a starting checkpoint are left out: their first steps come after a whole training.

    Raises:
        UserError: for invalid input.
    """
    suite = suites.load(name)
    every = suites.cells(suite, Overrides(loader="memory", seeds=1, threads=threads))
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
    return Verdicts(suite.name, checks)
