"""Rows of a table, from records: one per strategy of each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench import methods, settings
from bench.errors import UserError
from bench.records import CellSpec, Found, Record, StrategyRecord, TrainingRecord
from bench.reference import published
from bench.reference.verdicts import RED, Check


@dataclass(frozen=True)
class Row:
    """One strategy of one cell. Accuracies in per cent, memory in bytes; see ``bench.records`` for the figures.

    Attributes:
        error: what went wrong; empty for a row that is ok.
        verdict: against the measured reference; empty where the row was not checked.
        weights: shapes of the kernels and matrices that it predicts with; None in records that do not say.
        inputs: digests of what the learner was given, see ``bench.records.Record``.
        machine: GPU, or processor and its vector instructions, and threads, that its times are of; empty without any.
        executed_macs: multiply-accumulate operations of a prediction, mean over test images; None where it is fixed.
        conditions: all that a run depends on beside method, task and seed: the method's settings, epochs, loader, ...
    """

    method: str
    strategy: str
    task: str
    seed: int
    status: str
    accuracy: float | None = None
    published: float | None = None
    gap: float | None = None
    train_images_per_second: float | None = None
    train_images_per_second_compute: float | None = None
    predict_images_per_second: float | None = None
    peak_rss_bytes: int | None = None
    peak_live_bytes: int | None = None
    parameter_bytes: int | None = None
    predict_peak_live_bytes: int | None = None
    parameters: int | None = None
    train_flops_per_image: float | None = None
    executed_macs: float | None = None
    energy_joules: float | None = None
    train_seconds: float | None = None
    loader: str = ""
    noisy: bool | None = None
    machine: str = ""
    error: str = ""
    cell: str = ""
    verdict: str = ""
    weights: tuple[tuple[int, ...], ...] | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    conditions: dict[str, Any] = field(default_factory=dict)


def make(found: Found, checks: Sequence[Check] = ()) -> list[Row]:
    """A row per strategy of every record, failed ones included, and of every cell without a record.

    Args:
        found: records, and cells without one.
        checks: verdicts against measured references, where there are any; one holds for all seeds of its row.
    """
    table = [replace(row, verdict=_verdict(row, checks)) for record in found.records for row in _record_rows(record)]
    without = [(cell, "interrupted", "stopped before its end; the same command goes on") for cell in found.stopped]
    without += [(cell, "running", "a process is running it now") for cell in found.running]
    without += [(part.cell, "unreadable", part.reason) for part in found.unreadable if part.cell is not None]
    for cell, status, problem in without:
        table += [_empty(cell, strategy, status, problem) for strategy in _strategies(cell.method)]
    return sorted(table, key=lambda row: (row.task, row.method, row.seed, order(row.method, row.conditions), row.cell))


def _verdict(row: Row, checks: Sequence[Check]) -> str:
    """The verdict on a row's accuracy, unless that is well and another on its cell is not.

    Nothing has been confirmed here yet: an accuracy that is too low is an alarm.
    """
    mine = [check for check in checks if (check.task, check.method) == (row.task, row.method)]
    accuracy: str = next((check.verdict for check in mine if check.strategy == row.strategy), "")
    others = [check.verdict for check in mine if not check.strategy and check.verdict in RED]
    if accuracy == "ok" and others:
        return others[0]
    return "alarm" if accuracy == "regression" else accuracy


def _record_rows(record: Record) -> list[Row]:
    if record.status != "ok" or record.training is None:
        return [_empty(record.cell, s, record.status, record.error or "") for s in _strategies(record.cell.method)]
    reference = published.accuracy(record.cell.method, record.cell.settings, record.cell.task)
    return [_measured(record, record.training, strategy, reference) for strategy in record.strategies]


def _measured(record: Record, training: TrainingRecord, strategy: StrategyRecord, reference: float | None) -> Row:
    return replace(
        _empty(record.cell, strategy.strategy, record.status, ""),
        accuracy=strategy.accuracy,
        published=reference,
        gap=None if reference is None else strategy.accuracy - reference,
        train_images_per_second=training.images_per_second,
        train_images_per_second_compute=training.images_per_second_compute,
        predict_images_per_second=strategy.images_per_second,
        peak_rss_bytes=training.peak_rss_bytes,
        peak_live_bytes=training.peak_live_bytes,
        parameter_bytes=strategy.parameter_bytes,
        predict_peak_live_bytes=strategy.peak_live_bytes,
        parameters=strategy.parameters,
        train_flops_per_image=training.flops_per_image,
        executed_macs=None if record.work is None else record.work.macs,
        energy_joules=training.energy_joules,
        train_seconds=training.seconds,
        noisy=training.noisy or strategy.noisy,
        machine=machine_of(record),
        weights=strategy.weights,
        inputs=record.inputs,
    )


def machine_of(record: Record) -> str:
    """What a run's times are of, in words.

    Processors of different speed may share a name, "AMD EPYC" for one: their vector instructions tell them apart.
    """
    here = record.environment
    processor = here.gpu or f"{here.cpu} with {here.isa}"
    return f"{processor}, {here.threads} thread{'s' if here.threads > 1 else ''}"


def _empty(cell: CellSpec, strategy: str, status: str, error: str) -> Row:
    return Row(
        method=cell.method,
        strategy=strategy,
        task=cell.task,
        seed=cell.seed,
        status=status,
        loader=cell.loader,
        error=error,
        cell=cell.id,
        conditions=conditions_of(cell),
    )


def conditions_of(cell: CellSpec) -> dict[str, Any]:
    """All that a run depends on beside method, task and seed, by name."""
    others = cell.model_dump(
        mode="json", exclude={"method", "task", "seed", "settings", "yardstick", "start", "tuning"}
    )
    return (
        settings.filled(cell.method, cell.settings)
        | others
        | {"yardstick": None if cell.yardstick is None else cell.yardstick.method, "start": _start(cell)}
        | ({} if cell.tuning is None else {"tuning_trials": cell.tuning.trials})
    )


def _start(cell: CellSpec) -> str | None:
    """What a cell begins with, in words."""
    return None if cell.start is None else _of_epochs(cell.start.method, cell.start.epochs)


def _of_epochs(method: str, epochs: int | None) -> str:
    return f"{method} of {epochs} epochs"


def _strategies(method: str) -> tuple[str, ...]:
    try:
        return methods.get(method).strategies
    except UserError:
        return ("",)


def order(method: str, conditions: dict[str, Any]) -> tuple[Any, ...]:
    """Sorts runs by method, then by their conditions, numbers by size."""

    def sortable(value: Any) -> tuple[int, float, str]:
        return (0, value, "") if isinstance(value, int | float) else (1, 0, str(value))

    return method, [(key, sortable(value)) for key, value in sorted(conditions.items())]


def family(cell: CellSpec) -> str:
    """Method and kind of gates."""
    return " ".join([cell.method, str(cell.settings.get("gating", ""))]).strip()


def labels(runs: Sequence[tuple[str, dict[str, Any]]], *, brief: bool = False) -> list[str]:
    """A name for each run, given its method and conditions: the method, with what differs between its runs.

    A run that others begin with is named so instead, and what tells it from them is left out of their names.

    Args:
        runs: method and conditions of each.
        brief: only as much of what differs as it takes to tell the method's runs apart.
    """
    starts = _starts(runs)
    told = {}
    for method in {method for method, _ in runs}:
        same = [conditions for name, conditions in runs if name == method and conditions != starts.get(method)]
        differing = _differing(same)
        told[method] = _enough(differing, same) if brief else differing
    return [
        f"{method} (start)"
        if conditions == starts.get(method)
        else " ".join([method, *(f"{key}={conditions[key]}" for key in told[method] if key in conditions)])
        for method, conditions in runs
    ]


def labels_of_rows(table: Sequence[Row], *, brief: bool = False) -> list[str]:
    """The ``labels`` of what rows were measured on."""
    return labels([(row.method, row.conditions) for row in table], brief=brief)


def labels_of_cells(cells: Sequence[CellSpec], *, brief: bool = False) -> list[str]:
    """The ``labels`` of cells."""
    return labels([(cell.method, conditions_of(cell)) for cell in cells], brief=brief)


def _starts(runs: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """By method, the conditions of the run that others begin with: none where several might be meant."""
    begun = {conditions.get("start") for _, conditions in runs}
    found = {}
    for method in {method for method, _ in runs}:
        meant = [
            conditions
            for name, conditions in runs
            if name == method
            and conditions.get("start") is None
            and _of_epochs(method, conditions.get("epochs")) in begun
        ]
        if meant and all(conditions == meant[0] for conditions in meant):
            found[method] = meant[0]
    return found


def _differing(runs: Sequence[dict[str, Any]]) -> list[str]:
    """The keys whose values are not the same in all runs, in the order in which runs name them."""
    keys = dict.fromkeys(key for run in runs for key in run)
    return [key for key in keys if any(run.get(key) != runs[0].get(key) for run in runs)]


def _enough(keys: Sequence[str], runs: Sequence[dict[str, Any]]) -> list[str]:
    """The first keys that tell as many runs apart as all of them do."""

    def kinds(of: Sequence[str]) -> int:
        return len({repr([run.get(key) for key in of]) for run in runs})

    told: list[str] = []
    for key in keys:
        if kinds([*told, key]) > kinds(told):
            told.append(key)
    return told
