"""Comparing a suite's records with its measured references: a verdict per row and per cell.

golden     what the learner was given, the losses of its first steps and its final accuracies, seed by seed: to the
           bit where processor, threads and torch are those of the reference, else the losses within 1 %
accuracy   the suite's own seeds against the stored values of other seeds: ``bench.reference.statistics``
memory     peak live bytes, which repeat exactly
speed      beside the suite's yardstick, where the machine is that of the reference and was quiet
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.records import CellSpec, Record
from bench.reference import costs, golden
from bench.reference import statistics as tests
from bench.reference.measured import FEWEST_SEEDS, Cost, Golden, Measured, Row
from bench.reference.verdicts import Check, What


def check(
    expected: Sequence[tuple[CellSpec, tuple[str, ...]]],
    records: Sequence[Record],
    measured: Measured | None,
    fingerprint: str = "",
) -> list[Check]:
    """All verdicts on a suite, method by method.

    Args:
        expected: the suite's cells with their own seeds, each with its method's strategies.
        records: what was measured; records of other experiments or seeds are left aside.
        measured: the suite's references, if there are any.
        fingerprint: of the code whose records are preferred where a seed has several.
    """
    strategies = {cell.experiment: (cell.task, cell.method, names) for cell, names in expected}
    raced = {cell.experiment for cell, _ in expected if cell.yardstick is not None}
    own = {key: sorted({c.seed for c, _ in expected if c.experiment == key}) for key in strategies}
    rows = sum(len(names) for *_, names in strategies.values())
    checks = []
    for experiment, (task, method, names) in strategies.items():
        whole = blank(task, method, experiment)
        mine = _counted(records, experiment, own[experiment], fingerprint)
        problem = _problem(whole, mine, own[experiment], measured)
        stored = _Stored.of(measured, experiment)
        good = [record for record in mine.values() if record.status == "ok"]
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


def blank(task: str, method: str, experiment: str, strategy: str = "") -> Check:
    """A check with nothing in it yet: of a strategy's accuracy, or of the golden numbers of the whole cell."""
    what: What = "accuracy" if strategy else "golden"
    return Check(task=task, method=method, what=what, strategy=strategy, experiment=experiment, verdict="ok")


@dataclass(frozen=True)
class _Stored:
    """What is stored of one experiment."""

    goldens: dict[int, Golden]
    rows: dict[str, Row]
    cost: Cost | None

    @classmethod
    def of(cls, measured: Measured | None, experiment: str) -> _Stored:
        if measured is None:
            return cls({}, {}, None)
        return cls(
            goldens={part.seed: part for part in measured.goldens if part.experiment == experiment},
            rows={row.strategy: row for row in measured.rows if row.experiment == experiment},
            cost=next((cost for cost in measured.costs if cost.experiment == experiment), None),
        )


def _counted(records: Sequence[Record], experiment: str, seeds: Sequence[int], fingerprint: str) -> dict[int, Record]:
    """One record per seed: of this code before others, a good one before a bad one, a newer one before an older."""

    def rank(record: Record) -> tuple[bool, bool, str]:
        return record.code.fingerprint == fingerprint, record.status == "ok", record.created

    mine = [record for record in records if record.cell.experiment == experiment and record.cell.seed in seeds]
    return {record.cell.seed: record for record in sorted(mine, key=rank)}


def _problem(empty: Check, mine: Mapping[int, Record], own: Sequence[int], measured: Measured | None) -> Check | None:
    """Why nothing can be said of an experiment, if so."""
    failed = [record for record in mine.values() if record.status != "ok"]
    if failed:
        note = f"seed {failed[0].cell.seed}: {failed[0].status}: {failed[0].error}"
        return replace(empty, verdict="failed", note=note)
    missing = [seed for seed in own if seed not in mine]
    if len(missing) == len(own):
        return replace(empty, verdict="not measured", note="no record with the suite's settings")
    if missing:
        return replace(empty, verdict="not measured", note=f"no record of seed {', '.join(map(str, missing))}")
    if measured is None:
        return replace(empty, verdict="no reference", note="no stored values for these settings")
    return None


def _with_means(empty: Check, problem: Check, good: Sequence[Record], row: Row | None) -> Check:
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


def accuracy(empty: Check, good: Sequence[Record], row: Row | None, rows: int) -> Check:
    """The verdict on one strategy's accuracies.

    Args:
        empty: says which row it is.
        good: one record per own seed.
        row: the stored values.
        rows: how many rows are tested together.
    """
    new, stored = _accuracies(good, empty.strategy), _stored_accuracies(row)
    if row is None or len(stored) < FEWEST_SEEDS:
        return replace(empty, verdict="no reference", note="no stored values for these settings")
    levels = tests.Levels.of(rows, len(new))
    least = binomial_deviation(statistics.fmean(stored), row.samples)
    center, mean = statistics.fmean(stored), statistics.fmean(new)
    margin = tests.mean_margin(stored, new, levels.mean, least)
    known = replace(
        empty,
        value=mean,
        seeds=len(new),
        reference=center,
        reference_seeds=len(stored),
        limit=center - margin,
        detects=tests.detectable(len(stored), len(new), rows) * tests.deviation(stored, least),
    )
    single = tests.single_margin(stored, levels.single, least)
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


def binomial_deviation(percent: float, samples: int) -> float:
    """Standard deviation, in points, of an accuracy (per cent) on so many independent samples."""
    share = min(1.0, max(0.0, percent / 100))
    return 100 * math.sqrt(share * (1 - share) / samples)


def _accuracies(good: Sequence[Record], strategy: str) -> list[float]:
    return [part.accuracy for record in good for part in record.strategies if part.strategy == strategy]


def _stored_accuracies(row: Row | None) -> list[float]:
    return [value.accuracy for value in row.values] if row else []
