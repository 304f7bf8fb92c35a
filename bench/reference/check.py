"""Compares a suite's records with its measured references: one verdict per row and per cell.

golden     input data, losses of the first steps and final accuracies, seed by seed: bit-exact if processor, threads
           and torch are those of the reference, else the losses within 1 %
accuracy   the suite's own seeds against the stored values of the same and of other seeds:
           ``bench.reference.significance``
memory     peak live bytes, which are exactly reproducible
speed      relative to the suite's yardstick, if the machine is that of the reference and was quiet
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.records import CellSpec, Record
from bench.reference import costs, golden, significance
from bench.reference.baseline import Baseline
from bench.reference.measured import FEWEST_SEEDS, Cost, Golden, Measured
from bench.reference.verdicts import Check, What

USEFUL_DROP = 5.0
"""A row that detects no drop of this many points or fewer says so: a broken method may lose as much unnoticed."""


def verdicts(
    expected: Sequence[tuple[CellSpec, tuple[str, ...]]], counted: Sequence[Record], measured: Measured | None
) -> list[Check]:
    """All verdicts on a suite, method by method.

    Args:
        expected: the suite's cells with their own seeds, each with its method's strategies.
        counted: one record per own seed, see ``counted``.
        measured: the suite's references, or None.
    """
    strategies = {cell.experiment: (cell.task, cell.method, names) for cell, names in expected}
    raced = {cell.experiment for cell, _ in expected if cell.yardstick is not None}
    rows = sum(len(names) for *_, names in strategies.values())
    checks = []
    for experiment, (task, method, names) in strategies.items():
        own = [cell.seed for cell, _ in expected if cell.experiment == experiment]
        whole = blank(task, method, experiment)
        mine = [record for record in counted if record.cell.experiment == experiment]
        problem = _problem(whole, mine, own, measured)
        stored = _Stored.of(measured, experiment, own)
        good = [record for record in mine if record.status == "ok"]
        checks.append(problem or golden.check(whole, [golden.Opening.of(r) for r in good], stored.goldens))
        for name in names:
            row = stored.rows.get(name)
            empty = blank(task, method, experiment, name)
            checks.append(_with_means(empty, problem, good, row) if problem else accuracy(empty, good, row, rows))
        if problem is None:
            checks.append(costs.memory(replace(whole, what="memory"), good, stored.cost))
            if experiment in raced:
                checks.append(costs.speed(replace(whole, what="speed"), good, stored.cost, len(raced)))
    return checks


def counted(
    expected: Sequence[tuple[CellSpec, tuple[str, ...]]], records: Sequence[Record], made_here: Callable[[Record], bool]
) -> list[Record]:
    """One record for each of the suite's own seeds, if there is one: successful before failed, then newest first.

    Args:
        expected: the suite's cells with their own seeds.
        records: candidates; those of other experiments or seeds are ignored.
        made_here: whether a record was made by the current code and torch; others do not count.
    """
    own = {(cell.experiment, cell.seed) for cell, _ in expected}
    mine = [record for record in records if (record.cell.experiment, record.cell.seed) in own and made_here(record)]
    ranked = sorted(mine, key=lambda record: (record.status == "ok", record.created))
    return list({(record.cell.experiment, record.cell.seed): record for record in ranked}.values())


def blank(task: str, method: str, experiment: str, strategy: str = "") -> Check:
    """An empty check: of a strategy's accuracy, or of the golden numbers of the whole cell."""
    what: What = "accuracy" if strategy else "golden"
    return Check(task=task, method=method, what=what, strategy=strategy, experiment=experiment, verdict="ok")


@dataclass(frozen=True)
class _Stored:
    """The stored values of one experiment."""

    goldens: dict[int, Golden]
    rows: dict[str, Baseline]
    cost: Cost | None

    @classmethod
    def of(cls, measured: Measured | None, experiment: str, own: Sequence[int]) -> _Stored:
        """Look up an experiment; ``own`` are the suite's own seeds."""
        if measured is None:
            return cls({}, {}, None)
        names = [row.strategy for row in measured.rows if row.experiment == experiment]
        found = {name: Baseline.of(measured, experiment, name, own) for name in names}
        return cls(
            goldens={part.seed: part for part in measured.goldens if part.experiment == experiment},
            rows={name: row for name, row in found.items() if row is not None},
            cost=next((cost for cost in measured.costs if cost.experiment == experiment), None),
        )


def _problem(empty: Check, mine: Sequence[Record], own: Sequence[int], measured: Measured | None) -> Check | None:
    """The check to report if an experiment cannot be judged, else None."""
    failed = [record for record in mine if record.status != "ok"]
    if failed:
        note = f"seed {failed[0].cell.seed}: {failed[0].status}: {failed[0].error}"
        return replace(empty, verdict="failed", note=note)
    missing = sorted(set(own) - {record.cell.seed for record in mine})
    if missing:
        seeds = "any seed" if len(missing) == len(own) else f"seed {', '.join(map(str, missing))}"
        return replace(
            empty, verdict="not measured", note=f"no record of {seeds} with the suite's settings, by this code"
        )
    if measured is None:
        return replace(empty, verdict="no reference", note="no stored values for these settings")
    return None


def _with_means(empty: Check, problem: Check, good: Sequence[Record], row: Baseline | None) -> Check:
    """A row on which nothing can be said, with the means that are known."""
    values, stored = by_seed(good, empty.strategy).values(), list(row.others.values()) if row else []
    return replace(
        empty,
        verdict=problem.verdict,
        note=problem.note,
        value=statistics.fmean(values) if values else None,
        seeds=len(values),
        reference=statistics.fmean(stored) if stored else None,
        reference_seeds=len(stored),
    )


def accuracy(empty: Check, good: Sequence[Record], row: Baseline | None, rows: int) -> Check:
    """The verdict on one strategy's accuracies.

    Args:
        empty: identifies the row.
        good: one record per own seed.
        row: the stored values.
        rows: number of rows tested together.
    """
    new = by_seed(good, empty.strategy)
    if len(new) < len(good):
        return replace(empty, verdict="not measured", note="a record has no such strategy")
    if row is None or len(row.others) < FEWEST_SEEDS:
        return replace(empty, verdict="no reference", note="no stored values for these settings")
    return judge(empty, new, row, rows)


def judge(empty: Check, new: dict[int, float], row: Baseline, rows: int) -> Check:
    """The verdict on accuracies by seed, see ``accuracy``."""
    mean, limit, drop = statistics.fmean(new.values()), row.expected - row.margin(len(new), rows), None
    if math.isfinite(found := row.detects(len(new), rows)):
        drop = found
    known = replace(
        empty,
        value=mean,
        seeds=len(new),
        reference=row.center,
        reference_seeds=len(row.others),
        limit=limit,
        detects=drop,
    )
    if collapsed := row.collapsed(new):
        seed = min(collapsed, key=lambda seed: new[seed])
        return replace(
            known,
            verdict="regression",
            note=f"seed {seed} is {row.center - new[seed]:.2f} points below, {new[seed]:.2f}",
        )
    if row.low(new, rows):
        return replace(known, verdict="regression", note=f"{row.expected - mean:.2f} points below")
    level = significance.sidak(significance.FALSE_ALARMS, rows)
    if mean > row.center + significance.mean_margin(row.values, list(new.values()), level, row.least):
        return replace(known, verdict="too good", note=f"{mean - row.center:.2f} points above: leakage?")
    return replace(known, note="" if is_useful(known) else _useless(drop))


def is_useful(check: Check) -> bool:
    """Whether a row detects a drop of ``USEFUL_DROP`` points or fewer."""
    return check.detects is not None and check.detects <= USEFUL_DROP


def _useless(drop: float | None) -> str:
    least = "no drop at all" if drop is None else f"only a drop of {drop:.1f} points or more"
    return f"detects {least}: too few stored values"


def by_seed(good: Sequence[Record], strategy: str) -> dict[int, float]:
    """Accuracies of a strategy, by seed."""
    return {record.cell.seed: p.accuracy for record in good for p in record.strategies if p.strategy == strategy}
