"""An alarm is not yet a regression: fresh seeds decide, which neither the alarm nor the reference has seen."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import replace

from bench.records import CellSpec, Record
from bench.reference import statistics as tests
from bench.reference.check import binomial_deviation
from bench.reference.measured import Measured, Row
from bench.reference.verdicts import Check


def alarms(checks: Sequence[Check]) -> list[Check]:
    """The rows whose accuracy is too low."""
    return [check for check in checks if check.what == "accuracy" and check.verdict == "regression"]


def fresh_cells(alarming: Sequence[Check], records: Sequence[Record], measured: Measured) -> list[CellSpec]:
    """The cells to run for a decision: as the alarming ones, with as many seeds that nobody has used yet."""
    cells = []
    for experiment in dict.fromkeys(check.experiment for check in alarming):
        seeds = next(check.seeds for check in alarming if check.experiment == experiment)
        specs = [record.cell for record in records if record.cell.experiment == experiment]
        used = {spec.seed for spec in specs} | _stored_seeds(measured, experiment)
        fresh = itertools.islice((seed for seed in itertools.count() if seed not in used), seeds)
        cells += [specs[0].model_copy(update={"seed": seed}) for seed in fresh]
    return cells


def _stored_seeds(measured: Measured, experiment: str) -> set[int]:
    values = {value.seed for row in measured.rows if row.experiment == experiment for value in row.values}
    return values | {golden.seed for golden in measured.goldens if golden.experiment == experiment}


def decide(checks: Sequence[Check], fresh: Sequence[Record], measured: Measured) -> list[Check]:
    """The checks, with each alarm either confirmed by the fresh records or taken back."""
    rows = {(row.experiment, row.strategy): row for row in measured.rows}
    alarming = alarms(checks)
    return [
        _decided(check, fresh, rows[check.experiment, check.strategy]) if check in alarming else check
        for check in checks
    ]


def _decided(check: Check, fresh: Sequence[Record], row: Row) -> Check:
    mine = [record for record in fresh if record.cell.experiment == check.experiment]
    bad = [record for record in mine if record.status != "ok"]
    if bad or not mine:
        reason = f"{bad[0].status}: {bad[0].error}" if bad else "they could not be run"
        return replace(check, note=f"{check.note}; not confirmed by fresh seeds: {reason}")
    new = [part.accuracy for record in mine for part in record.strategies if part.strategy == check.strategy]
    seeds = ", ".join(str(record.cell.seed) for record in mine)
    stored = [value.accuracy for value in row.values]
    if confirms(stored, new, binomial_deviation(statistics.fmean(stored), row.samples)):
        return replace(check, note=f"{check.note}; fresh seeds {seeds} confirm it ({statistics.fmean(new):.2f})")
    note = f"alarm ({check.note}) taken back: fresh seeds {seeds} give {statistics.fmean(new):.2f}"
    return replace(check, verdict="ok", note=note)


def confirms(stored: Sequence[float], fresh: Sequence[float], least: float) -> bool:
    """Whether fresh values lie below the stored ones, at the level of a confirmation: their mean, or any of them."""
    center = statistics.fmean(stored)
    below = center - tests.mean_margin(stored, fresh, tests.CONFIRMATION, least)
    single = center - tests.single_margin(stored, tests.sidak(tests.CONFIRMATION, len(fresh)), least)
    return statistics.fmean(fresh) < below or min(fresh) < single
