"""Decides alarms: the seeds of the reference, run again, confirm a regression or not."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from bench.records import CellSpec, Record
from bench.reference.baseline import Baseline
from bench.reference.check import by_seed
from bench.reference.measured import Measured
from bench.reference.verdicts import Check


def alarms(checks: Sequence[Check]) -> list[Check]:
    """The checks whose accuracy is too low."""
    return [check for check in checks if check.what == "accuracy" and check.verdict == "regression"]


def repeated_cells(alarming: Sequence[Check], counted: Sequence[Record], measured: Measured) -> list[CellSpec]:
    """Cells that decide an alarm: the alarming experiments, with the seeds of their stored values.

    Args:
        alarming: the rows that raised an alarm.
        counted: the records that raised the alarm, one per own seed.
        measured: the suite's references.
    """
    cells = []
    for experiment in dict.fromkeys(check.experiment for check in alarming):
        specs = [record.cell for record in counted if record.cell.experiment == experiment]
        stored = {value.seed for row in measured.rows if row.experiment == experiment for value in row.values}
        seeds = sorted(stored - {spec.seed for spec in specs})
        cells += [specs[0].model_copy(update={"seed": seed}) for seed in seeds]
    return cells


def decide(
    checks: Sequence[Check],
    counted: Sequence[Record],
    repeated: Sequence[Record],
    measured: Measured,
    problem: str = "they were not run",
) -> list[Check]:
    """Confirm each alarm by the records of all seeds, or withdraw it.

    An alarm is withdrawn only if all its seeds succeed: failed ones might have been the low ones.

    Args:
        checks: with alarms.
        counted: the records that raised them, one per own seed.
        repeated: records of the cells from ``repeated_cells``.
        measured: the suite's references.
        problem: why a record may be missing.
    """
    rows = sum(bool(check.strategy) for check in checks)
    alarming = alarms(checks)
    return [
        _decided(check, counted, repeated, measured, rows, problem) if check in alarming else check for check in checks
    ]


def _decided(
    check: Check, counted: Sequence[Record], repeated: Sequence[Record], measured: Measured, rows: int, problem: str
) -> Check:
    own = by_seed([record for record in counted if record.cell.experiment == check.experiment], check.strategy)
    row = Baseline.of(measured, check.experiment, check.strategy, own)
    if row is None:
        raise AssertionError(f"{check.method}/{check.strategy} raised an alarm without stored values")
    mine = [record for record in repeated if record.cell.experiment == check.experiment]
    bad = [record for record in mine if record.status != "ok"]
    again = by_seed([record for record in mine if record.status == "ok"], check.strategy)
    if bad or not set(row.others) <= set(again):
        reason = f"seed {bad[0].cell.seed} {bad[0].status}: {bad[0].error}" if bad else problem
        return replace(check, note=f"{check.note}; not confirmed by the reference's seeds: {reason}")
    again = {seed: again[seed] for seed in row.others}
    seeds = ", ".join(map(str, again))
    means = f"{statistics.fmean(again.values()):.2f}, stored {row.center:.2f}"
    if row.confirms(own, again, rows):
        return replace(check, note=f"{check.note}; seeds {seeds}, run again, confirm it ({means})")
    return replace(check, verdict="ok", note=f"alarm ({check.note}) withdrawn: seeds {seeds}, run again, give {means}")
