"""Runs cells on this machine, in one process each, one at a time: concurrent trainings would slow each other."""

from __future__ import annotations

import datetime as dt
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from bench import records
from bench.errors import ExitStatus, UserError
from bench.measure import environment
from bench.measure.determinism import CUBLAS_WORKSPACE
from bench.options import RunOptions
from bench.records import CellOptions, CellSpec, Record
from bench.running import server
from bench.running.server import CellProcess

LOG_FILE = "log.txt"
GOES_ON = "the same command resumes from its last complete epoch"
KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
"""Settings of glibc's allocator. By default it decides by the sizes freed so far whether to return memory to the system
after every step and fetch it again page by page: equal networks then differ in speed by up to 1.7 times."""


Plan = Literal["recorded", "running", "resumes", "to run", "to run again"]


class Watcher(Protocol):
    """Receives the events of cells."""

    def cell_started(self, cell: CellSpec, index: int, total: int) -> None:
        """A cell's process starts."""

    def cell_event(self, cell: CellSpec, event: dict[str, Any]) -> None:
        """The cell's process reported something."""

    def cell_finished(self, cell: CellSpec, outcome: Outcome) -> None:
        """The cell has ended, or was finished before."""


@dataclass(frozen=True)
class Outcome:
    """Result of a cell: its record, or None if its process died.

    Attributes:
        reused: whether the record existed before.
        problem: description of a failure.
        bad_input: whether the user can fix the problem.
    """

    cell: CellSpec
    record: Record | None
    reused: bool
    problem: str | None
    bad_input: bool = False


def run_cells(
    cells: Sequence[CellSpec],
    options: RunOptions,
    *,
    watcher: Watcher,
) -> list[Outcome]:
    """Run every cell that has no finished record yet; interrupted cells resume.

    A record is finished if its status is ok or diverged, and if the code that is here made it, or with
    ``options.any_code``; failed cells are tried again. The folder of runs must have been checked by
    ``prepare_folder``.

    Args:
        cells: in the order in which they run; a starting checkpoint's cell comes before those that start from it.
        options: suite name for the records, folders, treatment of finished and of hung cells.
        watcher: receives the events.
    """
    counts = environment.made_here(any_code=options.any_code)
    outcomes = []
    begun_with = _start_ids(cells)
    for index, cell in enumerate(cells):
        own = replace(options, keep=options.keep or cell.id in begun_with)
        # Checked when its turn comes: another harness on this folder may have finished it meanwhile.
        record = None if own.force else _readable(cell, own.runs, keep=own.keep)
        if record is None or not counts(record):
            watcher.cell_started(cell, index, len(cells))
            outcome = _run(cell, replace(own, force=own.force or record is not None), watcher)
        else:
            outcome = Outcome(cell, record, reused=True, problem=record.error)
        watcher.cell_finished(cell, outcome)
        outcomes.append(outcome)
    return outcomes


def plan(cells: Sequence[CellSpec], options: RunOptions) -> list[tuple[CellSpec, Plan]]:
    """What ``run_cells`` would do with each cell now; nothing is run or written.

    "recorded": nothing, it is finished. "running": another process is running it. "resumes": resume an interrupted
    cell, if the code is still the same. "to run": start it. "to run again": other code made its record.
    """
    begun_with = _start_ids(cells)
    counts = environment.made_here(any_code=options.any_code)
    return [(cell, _plan(cell, options, counts, keep=options.keep or cell.id in begun_with)) for cell in cells]


def _plan(cell: CellSpec, options: RunOptions, counts: Callable[[Record], bool], *, keep: bool) -> Plan:
    try:
        record = None if options.force else _finished(cell, options.runs, keep=keep)
    except UserError:
        record = None
    if record is not None:
        return "recorded" if counts(record) else "to run again"
    folder = options.runs / cell.id
    if records.is_running(folder):
        return "running"
    return "resumes" if not options.force and (folder / records.STATE_FILE).is_file() else "to run"


def _start_ids(cells: Sequence[CellSpec]) -> set[str]:
    return {cell.begins_with.id for cell in cells if cell.begins_with is not None}


def _readable(cell: CellSpec, out: Path, *, keep: bool = False) -> Record | None:
    """A cell's finished record; an unreadable record is set aside, and its cell runs again."""
    try:
        return _finished(cell, out, keep=keep)
    except UserError as error:
        aside = records.set_aside(out / cell.id / records.RECORD_FILE)
        print(f"note: {error}; renamed to {aside.name}, measuring again", file=sys.stderr)
        return None


def _finished(cell: CellSpec, out: Path, *, keep: bool) -> Record | None:
    """A cell's finished record; with ``keep``, only if its trained weights still exist."""
    path = out / cell.id / records.RECORD_FILE
    if not path.is_file():
        return None
    record = records.read(path)
    if record.status not in records.FINISHED or record.cell.id != cell.id:
        return None
    lost = keep and record.status == "ok" and not path.with_name(records.LEARNED_FILE).is_file()
    return None if lost else record


def _run(cell: CellSpec, options: RunOptions, watcher: Watcher) -> Outcome:
    """Run one cell in its own process, with its instructions in two files in the cell's folder."""
    folder = options.runs / cell.id
    folder.mkdir(exist_ok=True)
    if not (folder / records.CELL_FILE).is_file():
        records.write(folder / records.CELL_FILE, cell)
    records.write(folder / records.OPTIONS_FILE, CellOptions.of(options))
    environ = {**os.environ, **KEEP_FREED_MEMORY, **CUBLAS_WORKSPACE, "OMP_NUM_THREADS": str(cell.threads)}
    bad_input, silent, status = None, False, 0
    with (
        (folder / LOG_FILE).open("a", encoding="utf-8") as log,
        server.start_cell(folder, cell, environ, log, environment.fingerprint()) as process,
    ):
        try:
            for event in _events(process, options.stall):
                if event["event"] == "bad-input":
                    bad_input = event["message"]
                watcher.cell_event(cell, event)
            status = process.wait()
        except _SilentError:
            silent = True
    if bad_input is not None:
        return Outcome(cell, None, reused=False, problem=bad_input, bad_input=True)
    advice = f"{'the same command starts it again' if options.force else GOES_ON} (log: {folder / LOG_FILE})"
    if silent:
        problem = f"killed after {options.stall:,.0f} s without output; {advice}"
        return _record_for(cell, folder, options.suite, "timeout", problem)
    if status != ExitStatus.OK:
        return _record_for(cell, folder, options.suite, "interrupted", f"{_death(status)}; {advice}")
    record = records.read(folder / records.RECORD_FILE)
    return Outcome(cell, record, reused=False, problem=record.error)


class _SilentError(Exception):
    """A cell's process has reported nothing for too long."""


def _events(process: CellProcess, stall: float) -> Iterator[dict[str, Any]]:
    """The events of a cell's process until it closes its output; other lines, printed by libraries, are dropped."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=stall)
        except queue.Empty:
            raise _SilentError from None
        if line is None:
            return
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(event, dict) and "event" in event:
            yield event


def _record_for(cell: CellSpec, folder: Path, suite: str, status: records.Status, problem: str) -> Outcome:
    """Write the record of a process that could not; a finished record of an earlier run stays."""
    here = environment.environment(torch.device(cell.device)).model_copy(update={"threads": cell.threads})
    record = Record(
        id=cell.id,
        cell=cell,
        suite=suite,
        status=status,
        error=problem,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        code=environment.code(cell),
        environment=here,
        epochs=[],
        opening_losses={},
        training=None,
        strategies=[],
    )
    if _readable(cell, folder.parent) is None:
        records.write(folder / records.RECORD_FILE, record)
    return Outcome(cell, record, reused=False, problem=problem)


def _death(status: int) -> str:
    if status == -signal.SIGKILL:
        return "the cell's process was killed by signal 9, perhaps by the system for lack of memory"
    how = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
    return f"the cell's process {how}"
