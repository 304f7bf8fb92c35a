"""Runs the cells of a folder of runs on this machine, each in a process of its own.

    cells ---> the next one without a record that nobody holds ---> its claim ---> its process ---> its record
                  ^                                                                                     |
                  +---- again, until all have a record: what other processes hold is waited for --------+

One cell runs at a time unless there are more lanes: concurrent trainings slow each other. Any number of such loops, on
any number of machines, share a folder (``bench.records.claims``).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol

import torch

from bench import records
from bench.errors import ExitStatus, Stopped, UserError
from bench.measure import environment
from bench.measure.determinism import CUBLAS_WORKSPACE
from bench.options import RunOptions
from bench.records import CellOptions, CellSpec, Record, claims
from bench.records.claims import Claim, Holder
from bench.running import server
from bench.running.server import CellProcess

LOG_FILE = "log.txt"
GOES_ON = "the same command resumes from its last complete epoch"
KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
"""Settings of glibc's allocator. By default it decides by the sizes freed so far whether to return memory to the system
after every step and fetch it again page by page: equal networks then differ in speed by up to 1.7 times."""
LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.5, 5.0
"""Between two looks at whether to stop, and at cells that other processes hold: these become rarer."""
STOPS = (signal.SIGTERM, signal.SIGUSR1)
"""Signals that ask for an end after the current epoch: queues send them some time before they kill."""


Plan = Literal["recorded", "running", "resumes", "to run", "to run again"]


class Watcher(Protocol):
    """Receives the events of cells; those of several at a time where there are several lanes."""

    def cell_started(self, cell: CellSpec, index: int, total: int) -> None:
        """A cell's process starts."""

    def cell_event(self, cell: CellSpec, event: dict[str, Any]) -> None:
        """The cell's process reported something."""

    def cell_finished(self, cell: CellSpec, outcome: Outcome) -> None:
        """The cell has ended, or was finished before."""

    def waiting(self, held: Mapping[str, Holder]) -> None:
        """Only cells are left that other processes run: who holds which, by the cell's id."""


@dataclass(frozen=True)
class Outcome:
    """Result of a cell: its record, or None if its process died.

    Attributes:
        reused: whether the record existed before.
        problem: description of a failure.
        bad_input: whether the user can fix the problem.
        elsewhere: whether another process has written the record meanwhile.
    """

    cell: CellSpec
    record: Record | None
    reused: bool
    problem: str | None
    bad_input: bool = False
    elsewhere: bool = False


@dataclass(frozen=True)
class Lane:
    """Runs one cell at a time.

    Attributes:
        environ: variables of its cells' processes, such as the devices that they see.
    """

    environ: Mapping[str, str] = field(default_factory=dict)


def run_cells(
    cells: Sequence[CellSpec],
    options: RunOptions,
    *,
    watcher: Watcher,
    lanes: Sequence[Lane] = (Lane(),),
    since: dt.datetime | None = None,
) -> list[Outcome]:
    """Run every cell that has no finished record yet; interrupted ones resume, those of other processes are waited for.

    A record is finished if its status is ok or diverged, and if the code that is here made it, or with
    ``options.any_code``; failed cells are tried again, unless another process has just tried them. The folder of runs
    must have been checked by ``prepare_folder``.

    Args:
        cells: in the order in which they start; a starting checkpoint's cell comes before those that start from it.
        options: suite name for the records, folders, treatment of finished and of hung cells.
        watcher: receives the events.
        lanes: each runs one cell at a time.
        since: with ``options.force``, records from then on are not made again; None for now.

    Returns:
        One per cell, in their order.

    Raises:
        Stopped: if a signal of ``STOPS`` came.
    """
    with _stopping() as stop:
        work = _Work(cells, options, watcher, stop, since)
        if len(lanes) == 1:
            work.run(lanes[0])
        else:
            _side_by_side(work, lanes)
        if not work.done:
            raise Stopped
    return [work.outcomes[cell.id] for cell in cells]


@contextlib.contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that is set when a signal of ``STOPS`` comes; elsewhere than in the main thread, none is caught."""
    stop = threading.Event()

    def told(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {each: signal.signal(each, told) for each in STOPS}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _side_by_side(work: _Work, lanes: Sequence[Lane]) -> None:
    """Run all lanes until each has ended; at an error or Ctrl-C, the cells that run are killed."""
    with ThreadPoolExecutor(len(lanes)) as pool:
        running = [pool.submit(work.run, lane) for lane in lanes]
        try:
            while not all(lane.done() for lane in running):
                time.sleep(LOOK_SECONDS / 5)
                for lane in running:
                    if lane.done():
                        lane.result()
        except BaseException:
            work.abandon.set()
            raise
        for lane in running:
            lane.result()


class _Work:
    """Cells that lanes share; where it locks, lanes of this process wait for each other."""

    def __init__(
        self,
        cells: Sequence[CellSpec],
        options: RunOptions,
        watcher: Watcher,
        stop: threading.Event,
        since: dt.datetime | None,
    ) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.abandon = threading.Event()
        self._cells = list(enumerate({cell.id: cell for cell in cells}.values()))
        self._options = options
        self._watcher = watcher
        self._stop = stop
        self._started = dt.datetime.now(dt.UTC)
        self._since = since or self._started
        self._counts = environment.made_here(any_code=options.any_code)
        self._begun_with = _start_ids(cells)
        self._ids = {cell.id for cell in cells}
        self._taken: set[str] = set()
        self._held: dict[str, Holder] = {}
        self._lock = threading.RLock()

    def run(self, lane: Lane) -> None:
        """Take one cell after the other until all have an outcome, or it is time to stop."""
        pause = LOOK_SECONDS
        while not self.done and not self._ends():
            taken = self._next()
            if taken is None:
                time.sleep(pause)
                pause = min(1.5 * pause, LONGEST_LOOK_SECONDS)
                continue
            pause = LOOK_SECONDS
            cell, claim, again = taken
            try:
                outcome = _run(cell, replace(self._of(cell), force=again), self, claim, lane)
            finally:
                claim.release()
            if outcome is None:  # told to stop, or taken over by another process
                self._taken.discard(cell.id)
            else:
                self._finish(cell, outcome)

    def event(self, cell: CellSpec, event: dict[str, Any]) -> None:
        """Pass on what a cell's process has reported."""
        with self._lock:
            self._watcher.cell_event(cell, event)

    @property
    def done(self) -> bool:
        """Whether every cell has an outcome."""
        return len(self.outcomes) == len(self._cells)

    @property
    def stops(self) -> bool:
        """Whether cells that run are to end after their epoch."""
        return self._stop.is_set()

    def _ends(self) -> bool:
        return self._stop.is_set() or self.abandon.is_set()

    def _of(self, cell: CellSpec) -> RunOptions:
        """The options of a cell: one that others start from keeps its weights."""
        return replace(self._options, keep=self._options.keep or cell.id in self._begun_with)

    def _next(self) -> tuple[CellSpec, Claim, bool] | None:
        """The first cell that nobody holds, claimed, and whether it starts anew; None if there is none now."""
        with self._lock:
            held: dict[str, Holder] = {}
            for index, cell in self._cells:
                if cell.id in self.outcomes or cell.id in self._taken or self._settled(cell):
                    continue
                if cell.begins_with is not None and cell.begins_with.id in self._ids - set(self.outcomes):
                    continue  # its start comes first
                folder = self._options.runs / cell.id
                folder.mkdir(exist_ok=True)
                claim = claims.take(folder)
                if claim is None:
                    holder = claims.holder(folder)
                    held |= {} if holder is None else {cell.id: holder}
                elif self._settled(cell):  # another process has finished it meanwhile
                    claim.release()
                else:
                    record = _readable(cell, self._options.runs, keep=self._of(cell).keep)
                    self._taken.add(cell.id)
                    self._watcher.cell_started(cell, index, len(self._cells))
                    return cell, claim, self._options.force or record is not None
            if held and held != self._held and not self._taken - set(self.outcomes):
                self._watcher.waiting(held)
            self._held = held
            return None

    def _settled(self, cell: CellSpec) -> bool:
        """Whether a cell has a record with which it is done; then it has an outcome."""
        try:
            record = _recorded(cell, self._options.runs)
        except UserError:
            return False  # whoever holds the cell sets it aside
        if record is None:
            return False
        # A time in records has no fraction.
        made = dt.datetime.fromisoformat(record.created)
        if record.status in records.FINISHED:
            done = not self._options.force or made > self._since
            done = done and self._counts(record) and _has_kept(record, self._options.runs, keep=self._of(cell).keep)
        else:
            done = made > self._started  # another process has just tried
        if done:
            _tidy(self._options.runs / cell.id, finished=record.status in records.FINISHED)
            elsewhere = made > self._started
            self._finish(cell, Outcome(cell, record, reused=True, problem=record.error, elsewhere=elsewhere))
        return done

    def _finish(self, cell: CellSpec, outcome: Outcome) -> None:
        with self._lock:
            self.outcomes[cell.id] = outcome
            self._watcher.cell_finished(cell, outcome)


def _tidy(folder: Path, *, finished: bool) -> None:
    """Remove what a worker has left that was killed after it had written the record."""
    if not any(folder.glob(claims.PATTERN)):
        return
    claim = claims.take(folder)
    if claim is not None:
        if finished:
            records.remove_states(folder, but=records.LEARNED_FILE)
        claim.release()


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
    record = _recorded(cell, out)
    if record is None or record.status not in records.FINISHED or not _has_kept(record, out, keep=keep):
        return None
    return record


def _recorded(cell: CellSpec, out: Path) -> Record | None:
    """A cell's record, whatever its status; a UserError if it cannot be read."""
    path = out / cell.id / records.RECORD_FILE
    try:
        record = records.read(path)
    except FileNotFoundError:
        return None
    return record if record.cell.id == cell.id else None


def _has_kept(record: Record, out: Path, *, keep: bool) -> bool:
    """Whether the trained weights of a record exist, if they are to be kept and there are any."""
    return not keep or record.status != "ok" or (out / record.id / records.LEARNED_FILE).is_file()


def _run(cell: CellSpec, options: RunOptions, work: _Work, claim: Claim, lane: Lane) -> Outcome | None:
    """Run one cell in its own process, with its instructions in two files in the cell's folder.

    None if it was told to stop, or another process has taken it over: it can resume, and has no outcome.
    """
    folder = options.runs / cell.id
    if not (folder / records.CELL_FILE).is_file():
        records.write(folder / records.CELL_FILE, cell)
    records.write(folder / records.OPTIONS_FILE, CellOptions.of(options))
    environ = {
        **os.environ, **KEEP_FREED_MEMORY, **CUBLAS_WORKSPACE, "OMP_NUM_THREADS": str(cell.threads), **lane.environ,
    }  # fmt: skip
    bad_input, silent, status = None, False, 0
    with (
        (folder / LOG_FILE).open("a", encoding="utf-8") as log,
        server.start_cell(folder, cell, environ, log, environment.fingerprint()) as process,
    ):
        try:
            for event in _events(process, options.stall, work, claim):
                if event["event"] == "bad-input":
                    bad_input = event["message"]
                work.event(cell, event)
            status = process.wait()
        except _SilentError:
            silent = True
        except _LostError:
            return None
    if bad_input is not None:
        return Outcome(cell, None, reused=False, problem=bad_input, bad_input=True)
    if status == ExitStatus.STOPPED and work.stops:
        return None
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


class _LostError(Exception):
    """A cell's process is to be killed: another one has taken the cell over, or everything ends."""


def _events(process: CellProcess, stall: float, work: _Work, claim: Claim) -> Iterator[dict[str, Any]]:
    """The events of a cell's process until it closes its output; other lines, printed by libraries, are dropped.

    Meanwhile its claim is touched, and it is told to stop when it is time.
    """
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    heard = beaten = time.monotonic()
    told = False
    while True:
        now = time.monotonic()
        if work.abandon.is_set():
            raise _LostError
        if now - beaten > claims.BEAT_SECONDS:
            beaten = now
            if not claim.beat():
                raise _LostError
        if work.stops and not told:
            told = True
            process.stop()
        try:
            line = lines.get(timeout=min(LOOK_SECONDS, stall))
        except queue.Empty:
            if time.monotonic() - heard > stall:
                raise _SilentError from None
            continue
        heard = time.monotonic()
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
