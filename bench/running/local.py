"""Running cells on this machine, one process each, one at a time: two trainings side by side would slow each other."""

from __future__ import annotations

import datetime as dt
import json
import os
import queue
import signal
import subprocess
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

LOG_FILE = "log.txt"
GOES_ON = "the same command goes on from its last whole epoch"
KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
"""For glibc's allocator. By default it decides from the sizes freed so far whether to give memory back to the system
after every step, and to be given it again page by page: equal networks then differ in speed by up to 1.7 times."""


Plan = Literal["recorded", "running", "goes on", "to run"]


class Watcher(Protocol):
    """Who is told what happens."""

    def cell_started(self, cell: CellSpec, index: int, total: int) -> None:
        """A cell's process starts."""

    def cell_event(self, cell: CellSpec, event: dict[str, Any]) -> None:
        """The cell's process reported something."""

    def cell_finished(self, cell: CellSpec, outcome: Outcome) -> None:
        """The cell has ended, or had a record already."""


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: its record, or no record if its process died.

    Attributes:
        reused: the record was there before.
        problem: what happened, where it is not ok.
        bad_input: the problem is one that the user can mend.
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
    current: Callable[[Record], bool] = lambda _: True,
) -> list[Outcome]:
    """Run every cell that has no finished record yet; an interrupted cell resumes where it was.

    A record counts as finished if its status is ok or diverged; a failed cell is tried again. The folder of runs is
    one that ``prepare_folder`` has seen.

    Args:
        cells: in the order in which they run; what a cell begins with comes before it.
        options: the suite's name, for the records; folders; what to do with finished cells and with silent ones.
        watcher: is told what happens.
        current: finished records for which this is not true are measured again.
    """
    outcomes = []
    begun_with = _begun_with(cells)
    for index, cell in enumerate(cells):
        own = replace(options, keep=options.keep or cell.id in begun_with)
        # Asked when its turn comes: another harness on this folder may have finished it meanwhile.
        record = None if own.force else _readable(cell, own.runs, keep=own.keep)
        if record is None or not current(record):
            watcher.cell_started(cell, index, len(cells))
            outcome = _run(cell, replace(own, force=own.force or record is not None), watcher)
        else:
            outcome = Outcome(cell, record, reused=True, problem=record.error)
        watcher.cell_finished(cell, outcome)
        outcomes.append(outcome)
    return outcomes


def plan(cells: Sequence[CellSpec], options: RunOptions) -> list[tuple[CellSpec, Plan]]:
    """What ``run_cells`` would do with each cell now; nothing is run or written.

    "recorded": nothing. "running": another process is at it. "goes on": resume an interrupted one, if the code is
    still the same. "to run": begin.
    """
    begun_with = _begun_with(cells)
    return [(cell, _plan(cell, options, keep=options.keep or cell.id in begun_with)) for cell in cells]


def _plan(cell: CellSpec, options: RunOptions, *, keep: bool) -> Plan:
    try:
        record = None if options.force else _finished(cell, options.runs, keep=keep)
    except UserError:
        record = None
    if record is not None:
        return "recorded"
    folder = options.runs / cell.id
    if records.is_running(folder):
        return "running"
    return "goes on" if not options.force and (folder / records.STATE_FILE).is_file() else "to run"


def _begun_with(cells: Sequence[CellSpec]) -> set[str]:
    return {cell.begins_with.id for cell in cells if cell.begins_with is not None}


def _readable(cell: CellSpec, out: Path, *, keep: bool = False) -> Record | None:
    """A cell's finished record; one that cannot be read is set aside, and its cell is run again."""
    try:
        return _finished(cell, out, keep=keep)
    except UserError as error:
        aside = records.set_aside(out / cell.id / records.RECORD_FILE)
        print(f"note: {error}; kept as {aside.name}, measured again", file=sys.stderr)
        return None


def _finished(cell: CellSpec, out: Path, *, keep: bool) -> Record | None:
    """A cell's finished record; with ``keep`` only if what the cell learned is still there too."""
    path = out / cell.id / records.RECORD_FILE
    if not path.is_file():
        return None
    record = records.read(path)
    if record.status not in records.FINISHED or record.cell.id != cell.id:
        return None
    lost = keep and record.status == "ok" and not path.with_name(records.LEARNED_FILE).is_file()
    return None if lost else record


def _run(cell: CellSpec, options: RunOptions, watcher: Watcher) -> Outcome:
    """Run one cell in its own process, which is told what to do by two files in the cell's folder."""
    folder = options.runs / cell.id
    folder.mkdir(exist_ok=True)
    if not (folder / records.CELL_FILE).is_file():
        records.write(folder / records.CELL_FILE, cell)
    records.write(folder / records.OPTIONS_FILE, CellOptions.of(options))
    # -P: the cell must run this package, not whatever folder of the same name the user stands in.
    command = [sys.executable, "-P", "-m", "bench.running.cell", str(folder)]
    environ = {**os.environ, **KEEP_FREED_MEMORY, **CUBLAS_WORKSPACE, "OMP_NUM_THREADS": str(cell.threads)}
    bad_input, silent = None, False
    with (
        (folder / LOG_FILE).open("a", encoding="utf-8") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, errors="replace", env=environ
        ) as process,
    ):
        try:
            for event in _events(process, options.stall):
                if event["event"] == "bad-input":
                    bad_input = event["message"]
                watcher.cell_event(cell, event)
            process.wait()
        except _SilentError:
            silent = True
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if bad_input is not None:
        return Outcome(cell, None, reused=False, problem=bad_input, bad_input=True)
    advice = f"{'the same command starts it again' if options.force else GOES_ON} (log: {folder / LOG_FILE})"
    if silent:
        problem = f"stopped: nothing was heard of it for {options.stall:,.0f} s; {advice}"
        return _left(cell, folder, options.suite, "timeout", problem)
    if process.returncode != ExitStatus.OK:
        return _left(cell, folder, options.suite, "interrupted", f"{_death(process.returncode)}; {advice}")
    record = records.read(folder / records.RECORD_FILE)
    return Outcome(cell, record, reused=False, problem=record.error)


class _SilentError(Exception):
    """A cell's process has reported nothing for too long."""


def _events(process: subprocess.Popen[str], stall: float) -> Iterator[dict[str, Any]]:
    """The events of a cell's process until it closes its output; lines of libraries that print are left out."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in process.stdout or ():
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


def _left(cell: CellSpec, folder: Path, suite: str, status: records.Status, problem: str) -> Outcome:
    """The record of a process that could not write its own; a finished one of an earlier run stays where it is."""
    here = environment.environment(torch.device(cell.device)).model_copy(update={"threads": cell.threads})
    record = Record(
        id=cell.id,
        cell=cell,
        suite=suite,
        status=status,
        error=problem,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        code=environment.code(),
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
        return "the cell's process was killed by signal 9, by the system perhaps, for want of memory"
    how = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
    return f"the cell's process {how}"
