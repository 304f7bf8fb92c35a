"""Claims: which process runs a cell, when several share a folder of runs, on one machine or on many.

A claim is a file ``claim-N.json`` in the cell's folder, made with O_EXCL: of several processes that try, one succeeds.
Its holder touches it every ``BEAT_SECONDS``. A claim whose holder was killed goes stale, and another process takes the
cell over with ``claim-(N+1).json``, again made with O_EXCL; a holder that was only slow sees that file, and stops. How
long ago a claim was touched is read from the file system's own clock, since those of two machines differ. There is no
lock: many shared file systems have none that reaches other machines.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import uuid
from pathlib import Path
from typing import Any, NamedTuple

BEAT_SECONDS = 10.0
STALE_SECONDS = 90.0
"""A claim that was not touched for so long, by the file system's clock, is its holder's no more."""
PATTERN = "claim-*.json"


class Holder(NamedTuple):
    """Who holds a claim.

    Attributes:
        host: name of the machine.
        process: its number there.
        job: of the queue that started it; empty without one.
        token: names the claim.
    """

    host: str
    process: int
    job: str
    token: str

    def __str__(self) -> str:
        return f"{self.job and f'job {self.job}, '}process {self.process} on {self.host}"


class Claim:
    """A claim that this process holds.

    Attributes:
        path: its file.
    """

    def __init__(self, path: Path, token: str) -> None:
        self.path = path
        self._token = token

    def beat(self) -> bool:
        """Touch it; whether it is still this process's."""
        try:
            os.utime(self.path)
        except FileNotFoundError:
            return False
        return _numbers(self.path.parent)[-1:] == [_number(self.path)]

    def release(self) -> None:
        """Remove it, with those that it replaced, unless another process has taken the cell over."""
        if self.beat():
            for number in _numbers(self.path.parent):
                _file(self.path.parent, number).unlink(missing_ok=True)
        else:
            self.path.unlink(missing_ok=True)


def take(folder: Path) -> Claim | None:
    """Claim the cell of a folder; None if another process holds it."""
    numbers = _numbers(folder)
    if not numbers:
        return _made(folder, 1)
    last = _file(folder, numbers[-1])
    before = _read(last)
    if not _is_stale(last, before):
        return None
    claim = _made(folder, numbers[-1] + 1)
    if claim is not None and last.exists() and _read(last) != before:  # it was released and taken in between
        claim.path.unlink(missing_ok=True)
        return None
    return claim


def holder(folder: Path) -> Holder | None:
    """Who holds the cell of a folder; None if nobody does, or the claim is stale."""
    found = last_holder(folder)
    return found[0] if found is not None and found[1] else None


def last_holder(folder: Path) -> tuple[Holder, bool] | None:
    """Who has claimed the cell of a folder last, and whether the claim is alive; None without a claim."""
    numbers = _numbers(folder)
    if not numbers:
        return None
    path = _file(folder, numbers[-1])
    found = _read(path)
    return found or Holder("another machine", 0, "", ""), not _is_stale(path, found)


def this_process() -> Holder:
    """This process as a holder, with a new token."""
    jobs = [os.environ.get(name, "") for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")]
    job = "_".join(jobs) if all(jobs) else os.environ.get("SLURM_JOB_ID", "")
    return Holder(socket.gethostname(), os.getpid(), job, uuid.uuid4().hex)


def _made(folder: Path, number: int) -> Claim | None:
    path, me = _file(folder, number), this_process()
    try:
        with path.open("x", encoding="utf-8") as file:
            json.dump({**me._asdict(), "started": _started(me.process)}, file)
    except FileExistsError:
        return None
    return Claim(path, me.token)


def _is_stale(path: Path, found: Holder | None) -> bool:
    """Whether a claim's holder is known to be gone, or has not touched it for long."""
    try:
        touched = path.stat().st_mtime
        if found is not None and found.host == socket.gethostname() and not _runs(path, found.process):
            return True
        return _now(path.parent) - touched > STALE_SECONDS
    except FileNotFoundError:
        return False  # released meanwhile: the next look sees it


def _now(folder: Path) -> float:
    """The time by the clock of the file system."""
    probe = folder / f".clock-{os.getpid()}-{uuid.uuid4().hex}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _runs(path: Path, process: int) -> bool:
    """Whether the process that made a claim on this machine still runs: a number may be another's by now."""
    with contextlib.suppress(OSError, ValueError):
        started = json.loads(path.read_text(encoding="utf-8")).get("started")
        return started is None or _started(process) == started
    return True


def _started(process: int) -> str | None:
    """When a process of this machine started, in ticks since a boot that it names; None if there is no such process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    after_name = stat.rpartition(")")[2].split()
    return None if after_name[0] in "ZX" else f"{boot} {after_name[19]}"


def _read(path: Path) -> Holder | None:
    """The holder that a claim names; None if it is not written yet, or gone."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Holder(content["host"], int(content["process"]), content["job"], content["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _numbers(folder: Path) -> list[int]:
    return sorted(_number(path) for path in folder.glob(PATTERN))


def _number(path: Path) -> int:
    text = path.stem.partition("-")[2]
    return int(text) if text.isdecimal() else 0


def _file(folder: Path, number: int) -> Path:
    return folder / f"claim-{number}.json"
