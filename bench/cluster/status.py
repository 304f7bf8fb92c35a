"""How far the runs of a folder are: each cell of its worklists, who runs it, and the time that is left."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import Literal, NamedTuple

from bench import records
from bench.cluster.durations import Durations
from bench.errors import UserError
from bench.records import CellSpec, Record, claims, worklists

State = Literal["recorded", "failed", "running", "stale", "resumes", "to run"]
STATES: tuple[State, ...] = ("recorded", "failed", "running", "stale", "resumes", "to run")


class CellStatus(NamedTuple):
    """A cell now.

    Attributes:
        state: "recorded"; "failed", with a record that says so; "running"; "stale": its worker is gone, another one
            takes it over; "resumes" from a checkpoint; "to run".
        where: who runs it, or why it failed.
        seconds: that its process took, or is expected to take; None if nothing is known.
    """

    suite: str
    cell: CellSpec
    state: State
    where: str
    seconds: float | None


class Status(NamedTuple):
    """All cells of a folder, and the expected seconds until the last one is recorded; None if nothing is known."""

    cells: list[CellStatus]
    remaining: float | None

    @property
    def counts(self) -> dict[State, int]:
        """The number of cells in each state."""
        return {state: sum(each.state == state for each in self.cells) for state in STATES}


def look(runs: Path) -> Status:
    """Look at a folder of runs; writes nothing but a clock's probe.

    Raises:
        UserError: if it has no worklist.
    """
    lists = worklists.read_worklists(runs)
    found = [(worklist, cell, _record(runs, cell)) for worklist in lists for cell in worklist.cells]
    durations = Durations([record for _, _, record in found if record is not None])
    cells, left, elapsed = [], 0.0, 0.0
    workers = set()
    for worklist, cell, record in found:
        expected = durations.of(cell)
        claim = claims.last_holder(runs / cell.id)
        forced = worklist.force and record is not None and dt.datetime.fromisoformat(record.created) < worklist.since
        if claim is not None and claim[1]:
            cells.append(CellStatus(worklist.suite, cell, "running", str(claim[0]), expected))
            workers.add((claim[0].host, claim[0].process, cell.id))
            elapsed += min(_age(runs / cell.id), expected or 0.0)
        elif record is not None and not forced:
            state: State = "recorded" if record.status in records.FINISHED else "failed"
            cells.append(CellStatus(worklist.suite, cell, state, record.error or "", record.wall_seconds))
            continue
        elif claim is not None:
            cells.append(CellStatus(worklist.suite, cell, "stale", str(claim[0]), expected))
        else:
            begun = not worklist.force and (runs / cell.id / records.STATE_FILE).is_file()
            cells.append(CellStatus(worklist.suite, cell, "resumes" if begun else "to run", "", expected))
        left += expected or 0.0
    known = all(each.seconds is not None for each in cells if each.state in ("running", "stale", "resumes", "to run"))
    return Status(cells, max(0.0, left - elapsed) / len(workers) if workers and known else None)


def _record(runs: Path, cell: CellSpec) -> Record | None:
    try:
        return records.read(runs / cell.id / records.RECORD_FILE)
    except (FileNotFoundError, UserError):
        return None


def _age(folder: Path) -> float:
    """Seconds since the cell's instructions were written, which is when its process started."""
    try:
        return max(0.0, time.time() - (folder / records.OPTIONS_FILE).stat().st_mtime)
    except OSError:
        return 0.0
