"""Measures again the cells of a folder of runs whose records other code has made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench import records
from bench.options import RunOptions
from bench.records import CellSpec, Record, names, sources
from bench.running import local, progress, rehearsal
from bench.running.local import Outcome
from bench.suites import describe, with_starts


def stale(runs: Path) -> list[Record]:
    """The records of a folder that other code has made than is here; those of methods not installed are left aside.

    Raises:
        UserError: if the folder does not exist.
    """
    return [record for record in records.read_all(runs).records if sources.is_current(record) is False]


def minutes(record: Record) -> float | None:
    """Minutes that the training of a record took; None if it was not completed."""
    return None if record.training is None else record.training.seconds / 60


def run(runs: Path, old: Sequence[Record], data_dir: Path | None, console: Console) -> list[Outcome]:
    """Run the cells of some records again, each for the suite and with the changes to it that it was made with.

    Args:
        runs: folder of runs.
        old: its records to replace, each when the new one is complete.
        data_dir: folder of the data sets; None for the usual places.
        console: for progress.

    Raises:
        UserError: for invalid input, before any cell runs if it can be known then.
    """
    groups: list[tuple[RunOptions, list[CellSpec]]] = []
    for record in old:
        options = RunOptions(record.suite, out=runs, data_dir=data_dir, **record.overrides)
        cells = next((members for same, members in groups if same == options), None)
        if cells is None:
            groups.append((options, cells := []))
        cells.append(describe.described(record.cell))
    ordered = [(options, with_starts(cells)) for options, cells in groups]
    every = [cell for _, cells in ordered for cell in cells]
    if not every:
        return []
    rehearsal.rehearse(every, data_dir)
    records.prepare_folder(runs)
    outcomes = []
    with progress.watcher(console, str(runs), names.titles(every)) as watcher:
        for options, cells in ordered:
            outcomes += local.run_cells(cells, options, watcher=watcher)
    return outcomes
