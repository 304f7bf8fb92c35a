"""Rows of a table: one per strategy of each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.records import CellSpec, Found, Record, StrategyRecord, TrainingRecord, sources
from bench.records.names import conditions_of, conditions_of_cells, labels, machine_of, order
from bench.reference import published
from bench.reference.verdicts import RED, Check


@dataclass(frozen=True)
class Row:
    """One strategy of one cell. Accuracies in per cent, memory in bytes; see ``bench.records`` for the values.

    Attributes:
        error: what went wrong; empty if the status is ok.
        published, gap: a published figure, and ours less it; no gap where the recipes are known to differ.
        recipe: whether they are the same, see ``bench.reference.published``; empty if that is not known.
        verdict: compared with the measured reference; empty if the row was not checked.
        weights: shapes of the kernels and matrices used in prediction; None in records without them.
        inputs: digests of the learner's input data, see ``bench.records.Record``.
        machine: GPU, or processor with its vector instructions, and threads, of the row's times; empty without any.
        executed_macs: multiply-accumulate operations of a prediction, mean over test images; None if it is constant.
        conditions: everything a run depends on except method, task and seed: the method's settings, epochs, loader, ...
        current: whether the code that is here made it; None if that cannot be known, or there is no record.
        between, optimiser: in words, see ``bench.records.Description``; None if not recorded.
    """

    method: str
    strategy: str
    task: str
    seed: int
    status: str
    accuracy: float | None = None
    top5: float | None = None
    published: float | None = None
    gap: float | None = None
    recipe: str = ""
    train_images_per_second: float | None = None
    train_images_per_second_compute: float | None = None
    predict_images_per_second: float | None = None
    peak_rss_bytes: int | None = None
    peak_live_bytes: int | None = None
    peak_allocated_bytes: int | None = None
    parameter_bytes: int | None = None
    predict_peak_live_bytes: int | None = None
    predict_peak_allocated_bytes: int | None = None
    parameters: int | None = None
    train_flops_per_image: float | None = None
    operations_per_step: int | None = None
    executed_macs: float | None = None
    energy_joules: float | None = None
    train_seconds: float | None = None
    loader: str = ""
    noisy: bool | None = None
    shared: bool | None = None
    machine: str = ""
    error: str = ""
    cell: str = ""
    verdict: str = ""
    weights: tuple[tuple[int, ...], ...] | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    conditions: dict[str, Any] = field(default_factory=dict)
    current: bool | None = None
    between: str | None = None
    optimiser: str | None = None


def make(found: Found, checks: Sequence[Check] = ()) -> list[Row]:
    """Make a row per strategy of every record, including failed ones, and of every cell without a record.

    Args:
        found: records, and cells without one.
        checks: verdicts against measured references, if any; a verdict applies to all seeds of its row.
    """
    table = [replace(row, verdict=_verdict(row, checks)) for record in found.records for row in _record_rows(record)]
    without = [(cell, "interrupted", "the same command resumes it") for cell in found.stopped]
    without += [(cell, "running", "a process is running it now") for cell in found.running]
    without += [(part.cell, "unreadable", part.reason) for part in found.unreadable if part.cell is not None]
    for cell, status, problem in without:
        table += [_empty(cell, strategy, status, problem) for strategy in _strategies(cell)]
    cells = [*(record.cell for record in found.records), *(cell for cell, _, _ in without)]
    conditions = {cell.id: each for cell, each in zip(cells, conditions_of_cells(cells), strict=True)}
    table = [replace(row, conditions=conditions[row.cell]) for row in table]
    return sorted(table, key=lambda row: (row.task, row.method, row.seed, order(row.method, row.conditions), row.cell))


def _verdict(row: Row, checks: Sequence[Check]) -> str:
    """The verdict on a row's accuracy, or, if that is good, the first bad one on its cell.

    Nothing is confirmed here: an accuracy that is too low is an alarm.
    """
    mine = [check for check in checks if (check.task, check.method) == (row.task, row.method)]
    accuracy: str = next((check.verdict for check in mine if check.strategy == row.strategy), "")
    others = [check.verdict for check in mine if not check.strategy and check.verdict in RED]
    if accuracy == "ok" and others:
        return others[0]
    return "alarm" if accuracy == "regression" else accuracy


def _record_rows(record: Record) -> list[Row]:
    if record.status != "ok" or record.training is None:
        return [_empty(record.cell, s, record.status, record.error or "") for s in _strategies(record.cell)]
    figure = published.figure(record.cell.described)
    current = sources.is_current(record)
    made = [
        _measured(record, record.training, strategy, published.compare(record, strategy, figure))
        for strategy in record.strategies
    ]
    return [replace(row, current=current) for row in made]


def _measured(
    record: Record, training: TrainingRecord, strategy: StrategyRecord, beside: published.Compared | None
) -> Row:
    return replace(
        _empty(record.cell, strategy.strategy, record.status, ""),
        accuracy=strategy.accuracy,
        top5=strategy.top5,
        published=None if beside is None else beside.value,
        gap=None if beside is None else beside.gap,
        recipe="" if beside is None else beside.recipe,
        train_images_per_second=training.images_per_second,
        train_images_per_second_compute=training.images_per_second_compute,
        predict_images_per_second=strategy.images_per_second,
        peak_rss_bytes=training.peak_rss_bytes,
        peak_live_bytes=training.peak_live_bytes,
        peak_allocated_bytes=training.peak_allocated_bytes,
        parameter_bytes=strategy.parameter_bytes,
        predict_peak_live_bytes=strategy.peak_live_bytes,
        predict_peak_allocated_bytes=strategy.peak_allocated_bytes,
        parameters=strategy.parameters,
        train_flops_per_image=training.flops_per_image,
        operations_per_step=training.operations_per_step,
        executed_macs=None if record.work is None else record.work.macs,
        energy_joules=training.energy_joules,
        train_seconds=training.seconds,
        noisy=training.noisy or strategy.noisy,
        shared=record.shared,
        machine=machine_of(record),
        weights=strategy.weights,
        inputs=record.inputs,
    )


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
        between=None if cell.described is None else cell.described.between,
        optimiser=None if cell.described is None else cell.described.optimiser,
    )


def _strategies(cell: CellSpec) -> tuple[str, ...]:
    return ("",) if cell.described is None else cell.described.strategies


def labels_of_rows(table: Sequence[Row], *, brief: bool = False) -> list[str]:
    """Labels of rows, see ``bench.records.names.labels``."""
    return labels([(row.method, row.conditions) for row in table], brief=brief)
