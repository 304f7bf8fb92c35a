"""Decides alarms: fresh seeds, used by neither the alarm nor the reference, confirm a regression or not."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import replace

from bench.records import CellSpec, Record
from bench.reference import significance
from bench.reference.measured import Measured, StoredRow
from bench.reference.verdicts import Check
from bench.statistics import binomial_deviation


def alarms(checks: Sequence[Check]) -> list[Check]:
    """The checks whose accuracy is too low."""
    return [check for check in checks if check.what == "accuracy" and check.verdict == "regression"]


def fresh_cells(alarming: Sequence[Check], counted: Sequence[Record], measured: Measured) -> list[CellSpec]:
    """Cells that decide an alarm: the alarming experiments, with as many unused seeds.

    The seeds depend only on suite and reference: the same alarm is always decided by the same seeds.

    Args:
        alarming: the rows that raised an alarm.
        counted: the records that raised the alarm, one per own seed.
        measured: the suite's references.
    """
    cells = []
    for experiment in dict.fromkeys(check.experiment for check in alarming):
        specs = [record.cell for record in counted if record.cell.experiment == experiment]
        taken = {spec.seed for spec in specs} | _stored_seeds(measured, experiment)
        fresh = itertools.islice((seed for seed in itertools.count() if seed not in taken), len(specs))
        cells += [specs[0].model_copy(update={"seed": seed}) for seed in fresh]
    return cells


def _stored_seeds(measured: Measured, experiment: str) -> set[int]:
    values = {value.seed for row in measured.rows if row.experiment == experiment for value in row.values}
    return values | {golden.seed for golden in measured.goldens if golden.experiment == experiment}


def decide(
    checks: Sequence[Check], fresh: Sequence[Record], measured: Measured, problem: str = "they were not run"
) -> list[Check]:
    """Confirm each alarm by the fresh records, or withdraw it.

    An alarm is withdrawn only if all its fresh seeds succeed: failed ones might have been the low ones.

    Args:
        checks: with alarms.
        fresh: records of the cells from ``fresh_cells``.
        measured: the suite's references.
        problem: why a record may be missing.
    """
    rows = {(row.experiment, row.strategy): row for row in measured.rows}
    alarming = alarms(checks)
    return [
        _decided(check, fresh, rows[check.experiment, check.strategy], problem) if check in alarming else check
        for check in checks
    ]


def _decided(check: Check, fresh: Sequence[Record], row: StoredRow, problem: str) -> Check:
    mine = [record for record in fresh if record.cell.experiment == check.experiment]
    bad = [record for record in mine if record.status != "ok"]
    if bad or len(mine) < check.seeds:
        reason = f"seed {bad[0].cell.seed} {bad[0].status}: {bad[0].error}" if bad else problem
        return replace(check, note=f"{check.note}; not confirmed by fresh seeds: {reason}")
    new = [part.accuracy for record in mine for part in record.strategies if part.strategy == check.strategy]
    seeds = ", ".join(str(record.cell.seed) for record in mine)
    stored = [value.accuracy for value in row.values]
    if confirms(stored, new, binomial_deviation(statistics.fmean(stored), row.samples)):
        return replace(check, note=f"{check.note}; fresh seeds {seeds} confirm it ({statistics.fmean(new):.2f})")
    note = f"alarm ({check.note}) withdrawn: fresh seeds {seeds} give {statistics.fmean(new):.2f}"
    return replace(check, verdict="ok", note=note)


def confirms(stored: Sequence[float], fresh: Sequence[float], least: float) -> bool:
    """Whether fresh values are below the stored ones, at the level of a confirmation: their mean, or any of them."""
    center = statistics.fmean(stored)
    below = center - significance.mean_margin(stored, fresh, significance.CONFIRMATION, least)
    single = center - significance.single_margin(
        stored, significance.sidak(significance.CONFIRMATION, len(fresh)), least
    )
    return statistics.fmean(fresh) < below or min(fresh) < single
