"""Runs a suite: from its options to the results of its cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from rich.console import Console

from bench import records, suites
from bench.errors import UserError
from bench.inputs import device_name
from bench.options import RunOptions, names_in
from bench.records import CellSpec, Found, Record, names, worklists
from bench.reference import check as checking
from bench.reference import measured
from bench.reference.measured import Measured
from bench.reference.verdicts import Check
from bench.running import local, progress, rehearsal, watchers
from bench.running.local import Lane, Outcome


class Prepared(NamedTuple):
    """A suite ready to run: its cells are valid, nothing has been written."""

    suite: suites.Suite
    cells: Sequence[CellSpec]
    titles: dict[str, str]
    stored: Measured | None


class SuiteRun(NamedTuple):
    """Results of a suite's cells.

    Attributes:
        outcomes: one per cell, in the order in which they ran.
        titles: names of the cells, by id.
        checks: verdicts on the suite's own seeds against its references; an accuracy that is too low is an alarm here.
    """

    suite: suites.Suite
    outcomes: Sequence[Outcome]
    titles: dict[str, str]
    checks: Sequence[Check]

    @property
    def found(self) -> Found:
        """The records, and the cells without one."""
        return Found(self.records, [outcome.cell for outcome in self.outcomes if outcome.record is None])

    @property
    def records(self) -> list[Record]:
        """The records, including those of failed cells."""
        return [outcome.record for outcome in self.outcomes if outcome.record is not None]

    @property
    def bad(self) -> list[Outcome]:
        """The outcomes of cells that have no result."""
        return [outcome for outcome in self.outcomes if outcome.record is None or outcome.record.status != "ok"]


def lanes_of(options: RunOptions) -> list[Lane]:
    """What runs cells side by side: as many as ``workers``, each with one of the ``devices``.

    Raises:
        UserError: for a device that is none, or fewer workers than devices.
    """
    devices = [device_name(name, "--devices") for name in names_in(options.devices, "devices") or ()]
    count = options.lanes
    if not devices:
        return [Lane() for _ in range(count)]
    numbers = [name.partition(":")[2] for name in devices]
    if not all(numbers) or len(set(numbers)) < len(numbers):
        raise UserError(f"--devices {','.join(devices)!r} must name different CUDA devices, such as cuda:0,cuda:1")
    if count < len(numbers):
        raise UserError(f"{count} workers cannot use {len(numbers)} devices; ask for {len(numbers)} or more")
    return [Lane({"CUDA_VISIBLE_DEVICES": numbers[index % len(numbers)]}) for index in range(count)]


def prepare(options: RunOptions) -> Prepared:
    """Expand a suite into its cells.

    Raises:
        UserError: for an invalid suite or overrides.
    """
    suite = suites.load(options.suite)
    if not options.unequal_budgets:
        suites.check_budgets(suite, options)
    stored = measured.load(suite.name)
    cells = suites.cells(suite, options)
    return Prepared(suite, cells, names.titles(cells), stored)


def plan(options: RunOptions) -> tuple[Prepared, list[tuple[CellSpec, local.Plan]]]:
    """What ``run`` would do with each cell; needs no data and writes nothing.

    Raises:
        UserError: for invalid input.
    """
    ready = prepare(options)
    rehearsal.rehearse_settings(ready.cells)
    return ready, local.plan(ready.cells, options)


def lay_out(options: RunOptions) -> Prepared:
    """Check a suite and its data, and write its worklist into the folder of runs: then any worker can run it.

    Raises:
        UserError: for invalid input.
    """
    ready = prepare(options)
    rehearsal.rehearse(ready.cells, options.data)
    records.prepare_folder(options.runs)
    worklists.write_worklist(list(ready.cells), replace(options, suite=ready.suite.name))
    return ready


def run(options: RunOptions, console: Console) -> SuiteRun:
    """Run a suite: finished cells are skipped, interrupted ones resume.

    Args:
        options: see ``bench.options.RunOptions``.
        console: for progress.

    Raises:
        UserError: for invalid input, before any cell runs if it can be known then.
    """
    lanes = lanes_of(options)
    suite, cells, titles, stored = lay_out(options)
    options = replace(options, suite=suite.name)

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    names = names_in(options.watchers, "watchers") or ()
    with (
        progress.watcher(console, suite.name, titles) as display,
        watchers.beside(display, names, suite.name, options.runs, say) as watcher,
    ):
        outcomes = local.run_cells(cells, options, watcher=watcher, lanes=lanes)
    own = [cell for cell in cells if cell.seed < suites.own_seeds(suite, cell.method, cell.settings)]
    done = [outcome.record for outcome in outcomes if outcome.record is not None]
    expected = suites.with_strategies(own)
    checks = checking.verdicts(expected, checking.counted(expected, done, lambda _: True), stored)
    return SuiteRun(suite, outcomes, titles, checks)
