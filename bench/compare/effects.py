"""Compares settings within one folder of runs: cells that differ in one choice and nothing else, paired by seed.

A choice is one condition of cells, or several that go together: "asge.alpha", "epochs", "asge.pooling=rms",
"asge.normalization=layer+asge.affine". A is the value after "=", or else the first in order; every other value is a B.

With d_s the difference B minus A of seed s, their mean has the 95 % interval of Student's t for n differences:

    d +- t(97.5 %, n - 1) * deviation(d_s) / sqrt(n)

which holds whatever A's and B's seeds have in common: order of images, augmentation, first weights.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.compare import sides
from bench.compare.sides import Side
from bench.compare.table import Comparison, Difference, accuracy_verdict, of_student, rows_of, together
from bench.errors import UserError, unknown
from bench.records import CellSpec, Found
from bench.records.names import conditions_of_cells, labels, order


@dataclass(frozen=True)
class Choice:
    """Conditions that are chosen together.

    Attributes:
        names: of conditions, settings without their method.
        method: whose settings they are; empty if none of them is a setting.
        base: by name, values of A, as text.
    """

    names: tuple[str, ...]
    method: str
    base: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Choice:
        """Read a choice such as "asge.normalization=layer+asge.affine".

        Raises:
            UserError: if it is empty, or names settings of two methods.
        """
        base: dict[str, str] = {}
        names, methods = [], set()
        for part in text.split("+"):
            name, equals, value = part.strip().partition("=")
            method, dot, setting = name.rpartition(".")
            if not setting or (dot and not method):
                raise UserError(f"--by needs conditions such as asge.alpha or epochs, joined by +: got {text!r}")
            names.append(setting)
            methods |= {method} if dot else set()
            if equals:
                base[setting] = value
        if len(methods) > 1:
            raise UserError(f"--by {text!r} names settings of {' and '.join(sorted(methods))}: one method at a time")
        return cls(tuple(names), next(iter(methods), ""), base)

    def split(self, conditions: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The values of the choice, and all other conditions."""
        values = tuple(conditions.get(name) for name in self.names)
        return values, {name: value for name, value in conditions.items() if name not in self.names}

    def is_base(self, values: Sequence[Any]) -> bool:
        """Whether values are those of A, as far as it names them."""
        named = dict(zip(self.names, values, strict=True))
        return bool(self.base) and all(str(named[name]) == value for name, value in self.base.items())

    def told(self, values: Sequence[Any]) -> str:
        """Values in words."""
        return ", ".join(f"{name}={value}" for name, value in zip(self.names, values, strict=True))


def effects(found: Found, choices: Sequence[Choice]) -> list[Comparison]:
    """A row per strategy for each pair of cells that differ in one of the choices alone.

    Raises:
        UserError: if a choice names what no cell has, or no two cells differ in it alone.
    """
    experiments = [side for of_method in sides.by_method(found).values() for side in of_method.values()]
    cells = [side.cell for side in experiments if side.cell is not None]
    every = list(zip(experiments, cells, conditions_of_cells(cells), strict=True))
    table = []
    for choice in choices:
        of_choice = [each for each in every if choice.method in ("", each[1].method)]
        known = {name for _, _, conditions in of_choice for name in conditions}
        for name in choice.names:
            if name not in known:
                raise unknown("condition", name, sorted(known))
        pairs = _pairs(of_choice, choice)
        if not pairs:
            raise UserError(f"no two cells differ in {' and '.join(choice.names)} alone")
        contexts = labels([(pair.a.cell.method if pair.a.cell else "", pair.context) for pair in pairs], brief=True)
        for pair, label in zip(pairs, contexts, strict=True):
            label = f"{label}: {choice.told(pair.b_values)} instead of {choice.told(pair.a_values)}"
            table += [_paired(each, pair) for each in rows_of(pair.a, pair.b, label)]
    return together(table)


@dataclass(frozen=True)
class _Pair:
    a: Side
    b: Side
    a_values: tuple[Any, ...]
    b_values: tuple[Any, ...]
    context: dict[str, Any]


def _pairs(experiments: Sequence[tuple[Side, CellSpec, dict[str, Any]]], choice: Choice) -> list[_Pair]:
    groups: dict[str, list[tuple[tuple[Any, ...], dict[str, Any], Side]]] = {}
    for side, cell, conditions in experiments:
        kept = {key: value for key, value in conditions.items() if key not in sides.BESIDE_THE_EXPERIMENT}
        values, context = choice.split(kept)
        key = repr((cell.task, cell.method, sorted(context.items(), key=lambda item: item[0])))
        groups.setdefault(key, []).append((values, context, side))
    pairs = []
    for members in groups.values():
        ordered = sorted(members, key=lambda each: order("", dict(zip(choice.names, each[0], strict=True))))
        base = next((each for each in ordered if choice.is_base(each[0])), None if choice.base else ordered[0])
        if base is not None:
            pairs += [_Pair(base[2], b, base[0], values, base[1]) for values, _, b in ordered if b is not base[2]]
    return pairs


def _paired(row: Comparison, pair: _Pair) -> Comparison:
    """A row whose difference is that of the seeds which both sides have."""
    of_a, of_b = pair.a.accuracies(row.strategy), pair.b.accuracies(row.strategy)
    shared = [seed for seed in of_a if seed in of_b]
    if not shared:
        return row
    a, b = ({seed: values[seed] for seed in shared} for values in (of_a, of_b))
    found = paired_difference([b[seed] - a[seed] for seed in shared])
    return replace(
        row,
        n_a=len(shared),
        n_b=len(shared),
        mean_a=statistics.fmean(a.values()),
        mean_b=statistics.fmean(b.values()),
        difference=statistics.fmean(b[seed] - a[seed] for seed in shared),
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        probability=None if found is None else found.probability,
        verdict=accuracy_verdict(a, b, found),
        notes=(),
    )


def paired_difference(differences: Sequence[float]) -> Difference | None:
    """The mean of differences, one per seed, with its interval; None if their deviation is not known, or 0."""
    if len(differences) < 2 or (deviation := statistics.stdev(differences)) == 0:
        return None
    error = deviation / math.sqrt(len(differences))
    return of_student(statistics.fmean(differences), error, len(differences) - 1)
