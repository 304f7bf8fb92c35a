"""Compares the conditions of a table's methods: what was equal, and what was not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.report.rows import Row, labels_of_rows

CONVOLUTION_DIMENSIONS = 4
MOST_SHOWN = 12


@dataclass(frozen=True)
class Line:
    """One condition that may differ.

    Attributes:
        what: its name.
        values: description of its value for each contestant.
        equal: whether all contestants have the same value.
    """

    what: str
    values: tuple[str, ...]
    equal: bool


def contestants(table: Sequence[Row]) -> list[str]:
    """The methods of a table's rows, with the settings that differ between runs of the same method."""
    return list(_groups(table))


def lines(table: Sequence[Row]) -> list[Line]:
    """Conditions that may differ between the contestants of one task; empty for fewer than two successful ones."""
    groups = [rows for rows in _groups(table).values() if rows]
    if len(groups) < 2:
        return []
    compared: list[tuple[str, Callable[[Row], Any], Callable[[Any], str]]] = [
        ("kernels of convolutions", _kernels, _kernels_text),
        ("between them", lambda row: row.between, str),
        ("parameters", lambda row: row.parameters, _count),
        ("training MFLOP per image", lambda row: row.train_flops_per_image, lambda value: f"{value / 1e6:,.1f}"),
        ("epochs", lambda row: row.conditions["epochs"], str),
        ("training images", lambda row: row.conditions["train_samples"] or "all", str),
        ("batch size", lambda row: row.conditions["batch_size"], str),
        ("augmentation", lambda row: row.conditions["augmentation"], lambda value: ", ".join(value) or "none"),
        ("optimiser", lambda row: row.optimiser, str),
        ("timed on", lambda row: row.machine, str),
        ("tuning trials", lambda row: row.conditions.get("tuning_trials"), str),
    ]
    if any(rows[0].conditions.get("start") for rows in groups):
        compared.append(("begun with", lambda row: row.conditions.get("start") or "nothing", str))
    for what, value in (("size and scaling", _images), ("validation images", _validation)):
        if any(value(rows[0]) for rows in groups):
            compared.append((what, value, lambda text: text or "the task's own"))
    if all(rows[0].operations_per_step is not None for rows in groups):
        compared.insert(4, ("operations per step", lambda row: row.operations_per_step, _count))
    for what, usual in (("precision", "float32"), ("execution", "eager")):
        if any(rows[0].conditions.get(what, usual) != usual for rows in groups):
            compared.append((what, partial(_condition, what, usual), str))
    found = [_line(what, [value(rows[0]) for rows in groups], show) for what, value, show in compared]
    return [*found, _data_order(groups)]


def _images(row: Row) -> str:
    """How a row's images differ from the task's own; empty if they do not."""
    side, scaling = row.conditions.get("resize"), row.conditions.get("scaling", "standard")
    return ", ".join([*([f"{side} pixels"] if side else []), *([scaling] if scaling != "standard" else [])])


def _condition(name: str, usual: str, row: Row) -> str:
    return str(row.conditions.get(name, usual))


def _validation(row: Row) -> str:
    """How a row's validation images differ from the task's own; empty if they do not."""
    count, kind = row.conditions.get("validation_samples"), row.conditions.get("split", "stratified")
    augmented = row.conditions.get("augmented_validation", False)
    parts = ([f"{count:,}"] if count else []) + ([kind] if kind != "stratified" else [])
    return ", ".join([*parts, *(["augmented"] if augmented else [])])


def _groups(table: Sequence[Row]) -> dict[str, list[Row]]:
    """Per method, one successful row per seed (the strategy with most parameters)."""
    groups: dict[str, dict[int, Row]] = {}
    names = labels_of_rows(table)
    for row, name in zip(table, names, strict=True):
        if row.status == "ok":
            by_seed = groups.setdefault(name, {})
            known = by_seed.get(row.seed, row)
            by_seed[row.seed] = max(known, row, key=lambda each: each.parameters or 0)
    return {name: list(by_seed.values()) for name, by_seed in groups.items()}


def _line(what: str, values: Sequence[Any], show: Callable[[Any], str]) -> Line:
    equal = None not in values and all(value == values[0] for value in values)
    return Line(what, tuple("not recorded" if value is None else show(value) for value in values), equal)


def _kernels(row: Row) -> tuple[tuple[int, ...], ...] | None:
    """The shapes of a row's convolutions."""
    if row.weights is None:
        return None
    return tuple(shape for shape in row.weights if len(shape) == CONVOLUTION_DIMENSIONS)


def _kernels_text(shapes: Sequence[Sequence[int]]) -> str:
    """Kernels as INPUTS-OUTPUTS:SIDE; only the number of layers and weights if there are many."""
    if len(shapes) > MOST_SHOWN:
        return f"{len(shapes)} of {sum(math.prod(shape) for shape in shapes):,} weights"
    return " ".join(f"{shape[1]}-{shape[0]}:{shape[-1]}" for shape in shapes) or "none"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _data_order(groups: Sequence[Sequence[Row]]) -> Line:
    """Whether, seed by seed, all contestants got the same batches, by the digests in their records."""
    by_seed = [{row.seed: row.inputs for row in rows} for rows in groups]
    seeds = tuple("seed " + ", ".join(map(str, sorted(inputs))) for inputs in by_seed)
    equal = all(inputs == by_seed[0] for inputs in by_seed) and all(by_seed[0].values())
    return Line("data and its order", seeds, equal)
