"""What the larger commands of the command line do."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from bench import devices, methods, parts, progress, report, rows, suites, tables
from bench.data import loaders, sources, splits, tasks
from bench.errors import ExitStatus, UserError
from bench.execution import local
from bench.execution.local import Outcome
from bench.measure import environment, noise
from bench.records import CellSpec, Found, Record
from bench.reference import check as checking
from bench.reference import measured
from bench.reference.measured import Measured
from bench.reference.verdicts import RED


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
    """Run a suite and print its table; progress goes to standard error, so that standard output holds data alone.

    A dry run prints which cells there are, and what would be done with each; it looks for no data and writes nothing.

    Raises:
        UserError: for bad input, before any cell runs wherever that can be known.
    """
    suite = suites.load(name)
    if not unequal_budgets:
        suites.check_budgets(suite, overrides)
    stored = measured.load(suite.name)
    cells = suites.cells(suite, device=devices.checked(device), threads=threads, overrides=overrides)
    titles = progress.titles(cells)
    if dry:
        _rehearse_settings(cells)
        return _say_plan(local.plan(cells, out, force=force, keep_learned=keep), titles, suite, out, form)
    rehearse(cells, data_dir)
    local.prepare_folder(out)
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


def expected(suite: suites.Suite, methods: tuple[str, ...] | None = None) -> list[tuple[CellSpec, tuple[str, ...]]]:
    """The cells that a suite runs by itself, of all or some methods, each with its method's strategies."""
    cells = suites.cells(suite, device="cpu", threads=1, overrides=suites.Overrides(loader="memory", methods=methods))
    return _with_strategies(cells)


def rehearse(cells: Sequence[CellSpec], data_dir: Path | None) -> None:
    """Find out what can be known to fail before anything runs: numbers, settings that do not fit a task, data files.

    Data that is not here is fetched.
    """
    _rehearse_settings(cells)
    for name in dict.fromkeys(spec.task for spec in cells):
        task = tasks.get_task(name)
        root = sources.locate(task, data_dir)
        for status in sources.verify(task, data_dir):
            if status.status != "ok":
                raise UserError(
                    f"{root / status.path} is {status.status} ({status.detail}); `bench data get {name}` mends it"
                )
        for limit in {spec.train_samples for spec in cells if spec.train_samples is not None}:
            splits.split(task, task.read(data_dir), train_limit=limit)


def _rehearse_settings(cells: Sequence[CellSpec]) -> None:
    most = 16 * (os.cpu_count() or 1)
    widest = max(cell.threads for cell in cells)
    if widest > most:
        raise UserError(f"--threads {widest} is more than this machine can use; valid are 1 to {most}")
    noise.tries()
    loaders.workers_wanted()
    for spec in {(spec.method, spec.task, spec.experiment): spec for spec in cells}.values():
        for built in filter(None, (spec, parts.yardstick(spec))):
            learner, _ = parts.learner(built.model_copy(update={"device": "cpu"}), steps_per_epoch=1)
            if built.begins_with is not None:
                other, _ = parts.learner(built.begins_with.model_copy(update={"device": "cpu"}), steps_per_epoch=1)
                parts.begin(learner, built, other.state_dict())
            parts.check_resolutions(spec, learner)


def _say_plan(
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
    title = f"{suite.name}: {recorded} of {len(planned)} cells would stay as they are recorded in {out}"
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
    """Figures, notes, the table, what went wrong, and the exit status."""

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    finished = [outcome.record for outcome in outcomes if outcome.record is not None]
    stopped = [outcome.cell for outcome in outcomes if outcome.record is None]
    if plots:
        from bench import figures

        try:
            for path in figures.draw_all(finished, out / "figures" / suite.name):
                say(f"figure: {path}")
        except Exception as error:  # noqa: BLE001 -- hours of training must not lose their table to a picture
            say(f"note: the figures could not be drawn: {error}")
    for note in stale(finished):
        say(f"note: {note}")
    own = _with_strategies([outcome.cell for outcome in outcomes if outcome.cell.seed < suite.seeds])
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


def _with_strategies(cells: Sequence[CellSpec]) -> list[tuple[CellSpec, tuple[str, ...]]]:
    return [(spec, methods.get(spec.method).strategies) for spec in cells]


def stale(finished: Sequence[Record]) -> list[str]:
    """A note if records were made by other code than that which is here now."""
    here = environment.code().fingerprint
    old = [record for record in finished if record.code.fingerprint != here]
    if not old:
        return []
    return [
        f"{len(old)} of {len(finished)} records were made by other code than is here now; --force measures them again"
    ]
