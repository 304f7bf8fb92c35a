"""Names of runs: the method with the settings that differ, the conditions, the machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.records.cells import CellSpec
from bench.records.record import Record


def machine_of(record: Record) -> str:
    """Describe the machine that a run's times are valid for.

    Processors of different speed may share a name, such as "AMD EPYC"; their vector instructions distinguish them.
    """
    here = record.environment
    processor = here.gpu or f"{here.cpu} with {here.isa}"
    return f"{processor}, {here.threads} thread{'s' if here.threads > 1 else ''}"


def conditions_of(cell: CellSpec) -> dict[str, Any]:
    """Everything that a run depends on except method, task and seed, by name."""
    others = cell.model_dump(
        mode="json", exclude={"method", "task", "seed", "settings", "yardstick", "start", "tuning", "described"}
    )
    return (
        (cell.settings if cell.described is None else cell.described.settings)
        | others
        | {"yardstick": None if cell.yardstick is None else cell.yardstick.method, "start": _start(cell)}
        | ({} if cell.tuning is None else {"tuning_trials": cell.tuning.trials})
    )


def conditions_of_cells(cells: Sequence[CellSpec]) -> list[dict[str, Any]]:
    """The conditions of cells that stand side by side.

    A cell lacks settings that did not exist yet when it ran and, without a description, those at their default. Where
    another of its method has them, left out of its own settings, it gets those defaults from there: such a setting at
    its default changes nothing.
    """
    defaults: dict[str, dict[str, Any]] = {}
    for cell in cells:
        if cell.described is not None:
            left_out = {key: value for key, value in cell.described.settings.items() if key not in cell.settings}
            defaults.setdefault(cell.method, {}).update(left_out)
    return [defaults.get(cell.method, {}) | conditions_of(cell) for cell in cells]


def family_of(cell: CellSpec) -> str:
    """The method, with the kind of network that its settings choose; figures give each a color."""
    return cell.method if cell.described is None else cell.described.family


def _start(cell: CellSpec) -> str | None:
    """Describe the checkpoint that a cell starts from."""
    return None if cell.start is None else _after_epochs(cell.start.method, cell.start.epochs)


def _after_epochs(method: str, epochs: int | None) -> str:
    return f"{method} of {epochs} epochs"


def order(method: str, conditions: dict[str, Any]) -> tuple[Any, ...]:
    """Sort key of runs: method, then conditions, numbers by value."""

    def sortable(value: Any) -> tuple[int, float, str]:
        return (0, value, "") if isinstance(value, int | float) else (1, 0, str(value))

    return method, [(key, sortable(value)) for key, value in sorted(conditions.items())]


def labels(runs: Sequence[tuple[str, dict[str, Any]]], *, brief: bool = False) -> list[str]:
    """Name each run, given its method and conditions: the method and the settings that differ between its runs.

    The starting checkpoint's run is labelled ``METHOD (start)``; settings that differ only from it are not shown.

    Args:
        runs: method and conditions of each run.
        brief: show only as many settings as it takes to distinguish the method's runs.
    """
    starts = _start_conditions(runs)
    told = {}
    for method in {method for method, _ in runs}:
        same = [conditions for name, conditions in runs if name == method and conditions != starts.get(method)]
        differing = _differing_keys(same)
        told[method] = _distinguishing_prefix(differing, same) if brief else differing
    return [
        f"{method} (start)"
        if conditions == starts.get(method)
        else " ".join([method, *(f"{key}={conditions[key]}" for key in told[method] if key in conditions)])
        for method, conditions in runs
    ]


def labels_of_cells(cells: Sequence[CellSpec], *, brief: bool = False) -> list[str]:
    """Labels of cells, see ``labels``."""
    conditions = conditions_of_cells(cells)
    return labels([(cell.method, each) for cell, each in zip(cells, conditions, strict=True)], brief=brief)


def _start_conditions(runs: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """By method, the conditions of the run that trains the starting checkpoint; none where that is ambiguous."""
    begun = {conditions.get("start") for _, conditions in runs}
    found = {}
    for method in {method for method, _ in runs}:
        meant = [
            conditions
            for name, conditions in runs
            if name == method
            and conditions.get("start") is None
            and _after_epochs(method, conditions.get("epochs")) in begun
        ]
        if meant and all(conditions == meant[0] for conditions in meant):
            found[method] = meant[0]
    return found


def _differing_keys(runs: Sequence[dict[str, Any]]) -> list[str]:
    """The keys whose values are not the same in all runs, in the runs' order."""
    keys = dict.fromkeys(key for run in runs for key in run)
    return [key for key in keys if any(run.get(key) != runs[0].get(key) for run in runs)]


def _distinguishing_prefix(keys: Sequence[str], runs: Sequence[dict[str, Any]]) -> list[str]:
    """The shortest prefix of keys that distinguishes as many runs as all keys do."""

    def kinds(of: Sequence[str]) -> int:
        return len({repr([run.get(key) for key in of]) for run in runs})

    told: list[str] = []
    for key in keys:
        if kinds([*told, key]) > kinds(told):
            told.append(key)
    return told


def titles(cells: Sequence[CellSpec]) -> dict[str, str]:
    """Title of each cell, by its id: method, the settings that distinguish it, task and seed."""
    labels = labels_of_cells(cells, brief=True)
    return {cell.id: f"{name} on {cell.task}, seed {cell.seed}" for cell, name in zip(cells, labels, strict=True)}
