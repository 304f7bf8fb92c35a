"""Compares a suite's records with its measured references: one verdict per row and per cell.

golden     input data, losses of the first steps and final accuracies, seed by seed: bit-exact if processor, threads
           and torch are those of the reference, else the losses within 1 %
accuracy   the suite's own seeds against the stored values of other seeds: ``bench.reference.significance``
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
from bench.reference.measured import FEWEST_SEEDS, Cost, Golden, Measured, StoredRow
from bench.reference.verdicts import Check, What
from bench.statistics import binomial_deviation


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
    rows: dict[str, StoredRow]
    cost: Cost | None

    @classmethod
    def of(cls, measured: Measured | None, experiment: str, own: Sequence[int]) -> _Stored:
        """Look up an experiment, without values of the suite's own seeds: the suite may have more seeds now."""
        if measured is None:
            return cls({}, {}, None)
        rows = [row for row in measured.rows if row.experiment == experiment]
        others = {row.strategy: [value for value in row.values if value.seed not in own] for row in rows}
        return cls(
            goldens={part.seed: part for part in measured.goldens if part.experiment == experiment},
            rows={row.strategy: row.model_copy(update={"values": others[row.strategy]}) for row in rows},
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


def _with_means(empty: Check, problem: Check, good: Sequence[Record], row: StoredRow | None) -> Check:
    """A row on which nothing can be said, with the means that are known."""
    values, stored = _accuracies(good, empty.strategy), _stored_accuracies(row)
    return replace(
        empty,
        verdict=problem.verdict,
        note=problem.note,
        value=statistics.fmean(values) if values else None,
        seeds=len(values),
        reference=statistics.fmean(stored) if stored else None,
        reference_seeds=len(stored),
    )


def accuracy(empty: Check, good: Sequence[Record], row: StoredRow | None, rows: int) -> Check:
    """The verdict on one strategy's accuracies.

    Args:
        empty: identifies the row.
        good: one record per own seed.
        row: the stored values.
        rows: number of rows tested together.
    """
    new, stored = _accuracies(good, empty.strategy), _stored_accuracies(row)
    if len(new) < len(good):
        return replace(empty, verdict="not measured", note="a record has no such strategy")
    if row is None or len(stored) < FEWEST_SEEDS:
        return replace(empty, verdict="no reference", note="no stored values for these settings")
    levels = significance.Levels.of(rows, len(new))
    least = binomial_deviation(statistics.fmean(stored), row.samples)
    center, mean = statistics.fmean(stored), statistics.fmean(new)
    margin = significance.mean_margin(stored, new, levels.mean, least)
    drop = significance.detectable(len(stored), len(new), rows)
    known = replace(
        empty,
        value=mean,
        seeds=len(new),
        reference=center,
        reference_seeds=len(stored),
        limit=center - margin,
        detects=None if math.isinf(drop) else drop * significance.deviation(stored, least),
    )
    single = significance.single_margin(stored, levels.single, least)
    if mean < center - margin:
        return replace(known, verdict="regression", note=f"{center - mean:.2f} points below")
    if min(new) < center - single:
        seed = min(good, key=lambda record: _accuracies([record], empty.strategy)).cell.seed
        return replace(
            known, verdict="regression", note=f"seed {seed} is {center - min(new):.2f} points below, {min(new):.2f}"
        )
    if mean > center + margin:
        return replace(known, verdict="too good", note=f"{mean - center:.2f} points above: leakage?")
    return known


def _accuracies(good: Sequence[Record], strategy: str) -> list[float]:
    return [part.accuracy for record in good for part in record.strategies if part.strategy == strategy]


def _stored_accuracies(row: StoredRow | None) -> list[float]:
    return [value.accuracy for value in row.values] if row else []
