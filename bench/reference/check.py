"""Comparing records with measured references, by two rules.

Losses. The losses of the first training steps, one by one, equal the stored ones of the same seed within 1 %. Another
processor or number of threads moves them by a tenth of that at most; a change to the computation moves them more, even
one that leaves the accuracy as it was.

Accuracy. For each row (task, method, strategy) with reference values r_1 .. r_m and new values x_1 .. x_n:

    limit = mean(r) - t(1 - a / rows, m - 1) * s * sqrt(1/m + 1/n)        a = 1 %

where t is Student's quantile, so that a healthy suite raises a false alarm at most once in a hundred times, all rows
together (Bonferroni). s is the deviation of the reference values, but at least the binomial deviation of an accuracy
on that many test images: with few seeds a deviation can come out small by chance. A mean below the limit is a
regression; one as far above is a warning, for a result that is too good often has a broken evaluation.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from bench.records import CellSpec, Record
from bench.reference.measured import FEWEST_SEEDS, Measured, Row

FALSE_ALARMS = 0.01
"""Probability of any false alarm in a healthy suite."""
LOSS_TOLERANCE = 0.01
"""Relative difference of a loss of the first steps from the stored one that passes."""
LOSS_FLOOR = 1e-3
"""Absolute difference that passes always: losses near 0 have no relative precision."""

Verdict = Literal["ok", "regression", "losses differ", "too good", "failed", "not measured", "no reference"]


@dataclass(frozen=True)
class RowCheck:
    """The verdict on one row. Accuracies and limits in per cent; None where there is nothing to say."""

    task: str
    method: str
    strategy: str
    verdict: Verdict
    accuracy: float | None
    seeds: int
    reference: float | None
    reference_seeds: int
    limit: float | None
    note: str


def tolerance(reference: Sequence[float], new_seeds: int, samples: int, rows: int) -> float:
    """How far (per cent points) a healthy mean of ``new_seeds`` values may lie below the reference mean.

    Args:
        reference: accuracies in per cent, at least two.
        new_seeds: number of new values.
        samples: test images behind each accuracy.
        rows: number of rows that are checked together.
    """
    share = min(1.0, max(0.0, statistics.fmean(reference) / 100))
    binomial = 100 * math.sqrt(share * (1 - share) / samples)
    deviation = max(statistics.stdev(reference), binomial)
    quantile = float(stats.t.ppf(1 - FALSE_ALARMS / rows, len(reference) - 1))
    return quantile * deviation * math.sqrt(1 / len(reference) + 1 / new_seeds)


def check(
    expected: Sequence[tuple[CellSpec, tuple[str, ...]]], records: Sequence[Record], measured: Measured | None
) -> list[RowCheck]:
    """A verdict for every row that the suite should have.

    Args:
        expected: the suite's cells, each with its method's strategies.
        records: what was measured; records of other experiments are left aside.
        measured: the suite's references, if there are any.
    """
    wanted = dict.fromkeys(
        (cell.task, cell.method, strategy, cell.experiment) for cell, strategies in expected for strategy in strategies
    )
    references = {(r.task, r.method, r.strategy, r.experiment): r for r in (measured.rows if measured else [])}
    openings = {(o.experiment, o.seed): o.losses for o in (measured.openings if measured else [])}
    return [_row(key, references.get(key), openings, records, len(wanted)) for key in wanted]


def opening_difference(new: Mapping[str, Sequence[float]], stored: Mapping[str, Sequence[float]]) -> str | None:
    """The first loss of the opening steps that is not the stored one, in words; None if all are."""
    if set(new) != set(stored):
        return f"losses are {', '.join(sorted(new))}, stored are {', '.join(sorted(stored))}"
    steps = min(len(values) for values in (*new.values(), *stored.values()))
    for step in range(steps):
        for name, values in stored.items():
            here, there = new[name][step], values[step]
            if abs(here - there) > max(LOSS_FLOOR, LOSS_TOLERANCE * abs(there)):
                return f"loss {name} at step {step + 1} is {here:.5g}, stored {there:.5g}"
    return None


def _row(
    key: tuple[str, str, str, str],
    reference: Row | None,
    openings: Mapping[tuple[str, int], Mapping[str, Sequence[float]]],
    records: Sequence[Record],
    rows: int,
) -> RowCheck:
    task, method, strategy, experiment = key
    mine = sorted((r for r in records if r.cell.experiment == experiment), key=lambda record: record.created)
    counted = {record.cell.seed: record for record in mine if record.status == "ok"}
    values = [part.accuracy for r in counted.values() for part in r.strategies if part.strategy == strategy]
    accuracy = statistics.fmean(values) if values else None
    failed = [record for record in mine if record.cell.seed not in counted]
    stored = [value.accuracy for value in reference.values] if reference else []

    def verdict(name: Verdict, note: str = "", limit: float | None = None) -> RowCheck:
        return RowCheck(
            task=task,
            method=method,
            strategy=strategy,
            verdict=name,
            accuracy=accuracy,
            seeds=len(values),
            reference=statistics.fmean(stored) if stored else None,
            reference_seeds=len(stored),
            limit=limit,
            note=note,
        )

    if failed:
        return verdict("failed", f"seed {failed[0].cell.seed}: {failed[0].status}: {failed[0].error}")
    if accuracy is None:
        return verdict("not measured", "no record with the suite's settings")
    if reference is None or len(stored) < FEWEST_SEEDS:
        return verdict("no reference", "no stored values for these settings")
    for record in counted.values():
        golden = openings.get((experiment, record.cell.seed))
        difference = opening_difference(record.opening_losses, golden) if golden else None
        if difference:
            return verdict("losses differ", f"seed {record.cell.seed}: {difference}")
    margin = tolerance(stored, len(values), reference.samples, rows)
    center = statistics.fmean(stored)
    if accuracy < center - margin:
        return verdict("regression", f"{center - accuracy:.2f} points below", center - margin)
    if accuracy > center + margin:
        return verdict("too good", f"{accuracy - center:.2f} points above: leakage?", center - margin)
    return verdict("ok", "", center - margin)
