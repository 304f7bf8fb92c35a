"""Asks a cell's method for what its records hold in words, so that their readers need no method."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bench import methods, records
from bench.data.sets import tasks
from bench.methods import settings
from bench.records import CellSpec, Description


class Completed(NamedTuple):
    """What ``complete`` found in a folder of runs: its records, those described now, those whose method is missing."""

    records: int
    described: int
    without_method: int


def description(method: str, values: Mapping[str, Any], task: str) -> Description | None:
    """What a method says of some settings on a task; None if the method is not installed.

    Args:
        method: its name.
        values: its settings in canonical form, or those of an older record.
        task: the task's name; it need not be installed.

    Raises:
        UserError: if the method cannot be imported, or one of its hooks fails.
    """
    if method not in methods.names():
        return None
    return ask(method, values, tasks.get_task(task) if task in tasks.task_names() else None)


def ask(method: str, values: Mapping[str, Any], task: tasks.Task | None) -> Description:
    """What an installed method says; see ``description``."""
    whole = settings.filled(method, values)
    return Description(
        settings=whole,
        strategies=methods.strategies(method, whole),
        between=methods.between(method, whole),
        optimiser=methods.optimiser(method, whole),
        family=methods.family(method, values),
        published=tuple(methods.published_rows(method, values)),
        dataset=None if task is None else task.title,
        class_names=() if task is None else tuple(getattr(task, "class_names", ())),
    )


def described(cell: CellSpec) -> CellSpec:
    """A cell with the description that its method gives now; unchanged if the method is not installed."""
    found = description(cell.method, cell.settings, cell.task)
    return cell if found is None else cell.model_copy(update={"described": found})


def complete(runs: Path) -> Completed:
    """Add their description to the older records of a folder of runs that lack it; all else in their files stays.

    Raises:
        UserError: if the folder does not exist, or has something that is not readable.
    """
    found = records.read_all(runs).records
    bare = [record for record in found if record.cell.described is None]
    given = [(record, description(record.cell.method, record.cell.settings, record.cell.task)) for record in bare]
    for record, words in given:
        if words is not None:
            records.add_description(runs / record.id / records.RECORD_FILE, words)
    missing = sum(words is None for _, words in given)
    return Completed(len(found), len(bare) - missing, missing)
