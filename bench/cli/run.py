"""Implementation of `bench run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from bench import records, suites, tables
from bench.errors import ExitStatus
from bench.inputs import device_name
from bench.measure.environment import stale
from bench.records import CellSpec, Found
from bench.reference import check as checking
from bench.reference import measured
from bench.reference.measured import Measured
from bench.reference.verdicts import RED
from bench.report import rows
from bench.report import table as report
from bench.running import local, progress
from bench.running.local import Outcome
from bench.running.rehearsal import rehearse, rehearse_settings


def run_suite(
    name: str,
    overrides: suites.Overrides,
    *,
    device: str,
    threads: int | None,
    data_dir: Path | None,
    out: Path,
    force: bool,
    keep: bool,
    stall: float,
    plots: bool,
    form: tables.Format,
    unequal_budgets: bool = False,
    dry: bool = False,
) -> int:
    """Run a suite and print its table; progress goes to standard error, so that standard output has only data.

    A dry run prints the cells and what would be done with each; it needs no data and writes nothing.

    Raises:
        UserError: for invalid input, before any cell runs if it can be known then.
    """
    suite = suites.load(name)
    if not unequal_budgets:
        suites.check_budgets(suite, overrides)
    stored = measured.load(suite.name)
    cells = suites.cells(suite, device=device_name(device), threads=threads, overrides=overrides)
    titles = progress.titles(cells)
    if dry:
        rehearse_settings(cells)
        return _print_plan(local.plan(cells, out, force=force, keep_learned=keep), titles, suite, out, form)
    rehearse(cells, data_dir)
    records.prepare_folder(out)
    console = Console(stderr=True)
    with progress.watcher(console, suite.name, titles) as watcher:
        outcomes = local.run_cells(
            cells,
            suite=suite.name,
            out=out,
            data_dir=data_dir,
            force=force,
            keep_learned=keep,
            stall=stall,
            watcher=watcher,
        )
    return _report(outcomes, titles, out, suite, stored, plots, form, console)


def _print_plan(
    planned: Sequence[tuple[CellSpec, local.Plan]],
    titles: Mapping[str, str],
    suite: suites.Suite,
    out: Path,
    form: tables.Format,
) -> int:
    lines: list[list[str | int]] = [
        [titles[cell.id], cell.epochs, cell.threads, does, cell.id] for cell, does in planned
    ]
    recorded = sum(does == "recorded" for _, does in planned)
    title = f"{suite.name}: {recorded} of {len(planned)} cells are finished in {out}"
    tables.render(title, ["cell", "epochs", "threads", "now", "folder"], lines, form, Console())
    return ExitStatus.OK


def _report(
    outcomes: Sequence[Outcome],
    titles: Mapping[str, str],
    out: Path,
    suite: suites.Suite,
    stored: Measured | None,
    plots: bool,
    form: tables.Format,
    console: Console,
) -> int:
    """Print figures, notes, the table and failures; return the exit status."""

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    finished = [outcome.record for outcome in outcomes if outcome.record is not None]
    stopped = [outcome.cell for outcome in outcomes if outcome.record is None]
    if plots:
        from bench.report import figures

        try:
            for path in figures.draw_all(finished, out / "figures" / suite.name):
                say(f"figure: {path}")
        except Exception as error:  # noqa: BLE001 -- a failing plot must not cost the table of hours of training
            say(f"note: the figures could not be drawn: {error}")
    for note in stale(finished):
        say(f"note: {note}")
    own = suites.with_strategies([outcome.cell for outcome in outcomes if outcome.cell.seed < suite.seeds])
    checks = checking.check(own, checking.counted(own, finished, lambda _: True), stored)
    report.render_rows(rows.make(Found(finished, stopped), checks), form, Console())
    for check in checks:
        if check.what != "accuracy" and check.verdict in RED:
            say(f"note: {check.method}: {check.verdict}: {check.note}")
    bad = [outcome for outcome in outcomes if outcome.record is None or outcome.record.status != "ok"]
    for outcome in bad:
        say(f"error: {progress.describe_outcome(titles[outcome.cell.id], outcome)}")
    if any(outcome.bad_input for outcome in bad):
        return ExitStatus.BAD_INPUT
    return ExitStatus.CELL_FAILED if bad else ExitStatus.OK
