"""A worker: takes cells of a folder's worklists, one after the other, until all are recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench import records
from bench.options import Names
from bench.records import names, worklists
from bench.running import local, progress
from bench.running.local import Lane, Outcome
from bench.running.suite import lanes_of


def work(
    runs: Path,
    console: Console,
    *,
    data_dir: Path | None = None,
    workers: int | None = None,
    devices: Names | None = None,
) -> list[Outcome]:
    """Run the cells of all worklists of a folder; what other workers run is waited for.

    Args:
        runs: folder of runs.
        console: for progress.
        data_dir: folder of the data sets; None for that of the worklist.
        workers: cells at a time; None for one, or one per device.
        devices: CUDA devices that they share, see ``bench.options.Overrides``.

    Raises:
        UserError: if there is no worklist, or a device is none.
        Stopped: if a signal asked to stop; the cells that ran are saved.
    """
    lists = worklists.read_worklists(runs)
    records.prepare_folder(runs)
    outcomes: list[Outcome] = []
    for worklist in lists:
        options = worklist.options(runs)
        options = replace(options, data_dir=data_dir or options.data_dir, workers=workers, devices=devices)
        lanes: Sequence[Lane] = lanes_of(options)
        with progress.watcher(console, worklist.suite, names.titles(worklist.cells)) as watcher:
            outcomes += local.run_cells(worklist.cells, options, watcher=watcher, lanes=lanes, since=worklist.since)
    return outcomes
