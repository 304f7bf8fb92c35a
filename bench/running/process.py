"""The process of a cell: ``python -m bench.running.process FOLDER``.

The folder contains ``cell.json`` (what to run) and ``options.json`` (how). The process prints one JSON object per line
to standard output while it runs, writes ``record.json`` and exits with 0; training failures become a status of the
record, not a traceback. At SIGTERM it ends after its current epoch, resumable.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from bench import records
from bench.errors import ExitStatus, Stopped, UserError
from bench.records import FINISHED, CellOptions, Record, claims
from bench.running import cell
from bench.running.evaluation import Progress
from bench.suites import describe

_SAVED = ("data", "epoch")
"""Events after which nothing is lost: training has not begun, or its state is saved."""


def run(folder: Path, options: CellOptions, progress: Progress) -> Record:
    """Run or resume the cell in ``folder`` and write its record.

    An existing record is replaced when the new one is complete. If the cell failed for an external reason, its
    checkpoint is kept, so that another try resumes from it.

    Raises:
        UserError: if the data is not available, a file in the folder is damaged, or the starting checkpoint is missing.
    """
    spec = describe.described(records.read_cell(folder / records.CELL_FILE))
    if options.force:
        records.remove_states(folder)
    torch.set_num_threads(spec.threads)
    started, shared = time.monotonic(), is_shared(folder)
    record = cell.run(spec, folder, options, progress)
    record = record.model_copy(
        update={"wall_seconds": time.monotonic() - started, "shared": shared or is_shared(folder)}
    )
    if options.keep and record.status == "ok":
        (folder / records.STATE_FILE).replace(folder / records.LEARNED_FILE)
    records.write(folder / records.RECORD_FILE, record)
    if record.status in FINISHED:
        records.remove_states(folder, but=records.LEARNED_FILE)
    return record


def is_shared(folder: Path) -> bool:
    """Whether this machine runs other cells of the same folder of runs now, or a queue gave only a part of it."""
    given = os.environ.get("SLURM_CPUS_ON_NODE", "")
    if given.isdecimal() and int(given) < (os.cpu_count() or 1):
        return True
    host = claims.this_process().host
    others = (claims.holder(file.parent) for file in folder.parent.glob(f"*/{claims.PATTERN}") if file.parent != folder)
    return any(holder is not None and holder.host == host for holder in others)


class _Events:
    """Prints one JSON line per event; exits if the reader, the harness, is gone, or after SIGTERM."""

    def __init__(self) -> None:
        self._told = False

    def stop(self, *_: object) -> None:
        """End at the next event after which nothing is lost."""
        self._told = True

    def __call__(self, event: dict[str, Any]) -> None:
        print(json.dumps(event), flush=True)
        if self._told and event["event"] in _SAVED:
            raise Stopped


def main(folder: str) -> int:
    """Run the cell in a folder as its ``options.json`` says; returns the exit status of the process."""
    say, place = _Events(), Path(folder)
    signal.signal(signal.SIGTERM, say.stop)
    try:
        record = run(place, records.read_options(place / records.OPTIONS_FILE), say)
    except UserError as error:
        say({"event": "bad-input", "message": str(error)})
        return ExitStatus.BAD_INPUT
    except Stopped:
        return ExitStatus.STOPPED
    except BrokenPipeError:
        return ExitStatus.CELL_FAILED
    except OSError as error:
        # The disk is full or not writable: the user can fix that, and nothing written so far is lost.
        what = error.filename or folder
        say({"event": "bad-input", "message": f"{what} cannot be used: {error.strerror or error}"})
        return ExitStatus.BAD_INPUT
    say({"event": "done", "status": record.status, "error": record.error})
    return ExitStatus.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
