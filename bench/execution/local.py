"""Running cells on this machine, one process each, one at a time: two trainings side by side would slow each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bench import records
from bench.errors import ExitStatus, UserError
from bench.records import CellSpec, Record

LOG_FILE = "log.txt"
KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
"""For glibc's allocator. By default it decides from the sizes freed so far whether to give memory back to the system
after every step, and to be given it again page by page: equal networks then differ in speed by up to 1.7 times."""


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
    cells: Sequence[CellSpec], *, suite: str, out: Path, data_dir: Path | None, force: bool, watcher: Watcher
) -> list[Outcome]:
    """Run every cell that has no finished record yet; a cell that was stopped goes on where it was.

    A record counts as finished if its status is ok or diverged; a failed cell is tried again. ``out`` is a folder
    that ``prepare_folder`` has seen.

    Raises:
        UserError: if an existing record cannot be read.
    """
    kept = {} if force else _finished(cells, out)
    outcomes = []
    for index, cell in enumerate(cells):
        record = kept.get(cell.id)
        if record is None:
            watcher.cell_started(cell, index, len(cells))
            outcome = _run(cell, out / cell.id, suite, data_dir, force, watcher)
        else:
            outcome = Outcome(cell, record, reused=True, problem=record.error)
        watcher.cell_finished(cell, outcome)
        outcomes.append(outcome)
    return outcomes


def prepare_folder(out: Path) -> None:
    """Make a folder and make sure that it can be written; a UserError names it otherwise."""
    probe = out / f".write-test-{os.getpid()}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"output folder {str(out)!r} cannot be written: {error.strerror}") from error


def _finished(cells: Sequence[CellSpec], out: Path) -> dict[str, Record]:
    found = {}
    for cell in cells:
        path = out / cell.id / records.RECORD_FILE
        if path.is_file():
            record = records.read(path)
            if record.status in records.FINISHED and record.cell == cell:
                found[cell.id] = record
    return found


def _run(cell: CellSpec, folder: Path, suite: str, data_dir: Path | None, force: bool, watcher: Watcher) -> Outcome:
    folder.mkdir(exist_ok=True)
    if not (folder / records.CELL_FILE).is_file():
        records.write(folder / records.CELL_FILE, cell)
    # -P: the cell must run this package, not whatever folder of the same name the user stands in.
    command = [sys.executable, "-P", "-m", "bench.cell"]
    command += [str(folder), suite, str(data_dir or ""), "force" if force else ""]
    environment = {**os.environ, **KEEP_FREED_MEMORY, "OMP_NUM_THREADS": str(cell.threads)}
    bad_input = None
    with (folder / LOG_FILE).open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, errors="replace", env=environment
        )
        try:
            for event in _events(process):
                if event["event"] == "bad-input":
                    bad_input = event["message"]
                watcher.cell_event(cell, event)
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if bad_input is not None:
        return Outcome(cell, None, reused=False, problem=bad_input, bad_input=True)
    if process.returncode != ExitStatus.OK:
        return Outcome(cell, None, reused=False, problem=_death(process.returncode, folder))
    record = records.read(folder / records.RECORD_FILE)
    return Outcome(cell, record, reused=False, problem=record.error)


def _events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """The events of a cell's process until it closes its output; lines of libraries that print are left out."""
    if process.stdout is None:
        return
    for line in process.stdout:
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(event, dict) and "event" in event:
            yield event


def _death(status: int, folder: Path) -> str:
    how = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
    return f"the cell's process {how}; the same command goes on from its last whole epoch (log: {folder / LOG_FILE})"
