"""Measured references: the raw per-seed values of a suite, with where they come from."""

from __future__ import annotations

import datetime as dt
import getpass
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from bench import records
from bench.errors import UserError
from bench.records import CellSpec, Code, Environment, Model, Record
from bench.reference.folder import reference_folder

FEWEST_SEEDS = 2
"""Seeds that a row of a reference needs: one has no deviation."""
OPENING_SEEDS = 1
"""How many seeds, from 0 on, have the losses of their first steps stored."""


class Value(Model):
    """Test accuracy (per cent, last epoch) of one seed, and the code that made it."""

    seed: int
    accuracy: float
    commit: str | None


class Row(Model):
    """The values of one strategy of one method on one task.

    Attributes:
        experiment: hash of everything that the values' distribution depends on; other settings do not compare.
        samples: test images.
    """

    task: str
    method: str
    strategy: str
    experiment: str
    samples: int
    values: list[Value]


class Opening(Model):
    """The losses of the first training steps of one cell, one by one, by name."""

    task: str
    method: str
    experiment: str
    seed: int
    losses: dict[str, list[float]]


class RowChange(Model):
    """Mean accuracy (per cent) and number of seeds of a row before and after a change; null where there was none."""

    row: str
    old: float | None
    old_seeds: int
    new: float
    new_seeds: int


class Change(Model):
    """Who changed a reference, when, why and how."""

    when: str
    who: str
    reason: str
    rows: list[RowChange]


class Measured(Model):
    """The measured references of one suite."""

    suite: str
    environment: Environment
    code: Code
    history: list[Change]
    rows: list[Row]
    openings: list[Opening]


def path_of(suite: str) -> Path:
    """The file of a suite's measured references."""
    return reference_folder() / "measured" / f"{suite}.json"


def load(suite: str) -> Measured | None:
    """The measured references of a suite, or None if there are none.

    Raises:
        UserError: if the file cannot be read.
    """
    path = path_of(suite)
    if not path.is_file():
        return None
    try:
        return Measured.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"{path} is not a file of measured references: {error.errors()[0]['msg']}") from None


def update(
    suite: str, expected: Sequence[tuple[CellSpec, tuple[str, ...]]], found: Sequence[Record], reason: str
) -> Change:
    """Write the references of a suite anew from its finished records; the file's history goes on.

    Args:
        suite: its name.
        expected: the suite's cells, each with its method's strategies.
        found: records; those of other experiments are left aside.
        reason: why, for the history.

    Returns:
        What changed.

    Raises:
        UserError: if a row of the suite has fewer than two seeds, or if the records were made by different code.
    """
    wanted = {(c.task, c.method, strategy, c.experiment) for c, strategies in expected for strategy in strategies}
    experiments = {experiment for *_, experiment in wanted}
    done = sorted(
        (record for record in found if record.status == "ok" and record.cell.experiment in experiments),
        key=lambda record: record.created,
    )
    rows = list(_rows(done))
    enough = {(r.task, r.method, r.strategy, r.experiment) for r in rows if len(r.values) >= FEWEST_SEEDS}
    for task, method, strategy, _ in sorted(wanted - enough):
        raise UserError(
            f"{task} {method}/{strategy} has fewer than {FEWEST_SEEDS} finished seeds; "
            f"`bench run {suite} --seeds N` makes them"
        )
    makers = {record.code.fingerprint for record in done}
    if len(makers) > 1:
        raise UserError(
            f"the records of {suite} were made by {len(makers)} versions of the code; --force makes them anew"
        )
    old = load(suite)
    change = Change(
        when=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        who=_user(),
        reason=reason,
        rows=_row_changes(old.rows if old else [], rows),
    )
    path = path_of(suite)
    path.parent.mkdir(parents=True, exist_ok=True)
    measured = Measured(
        suite=suite,
        environment=done[-1].environment,
        code=done[-1].code,
        history=[*(old.history if old else []), change],
        rows=rows,
        openings=_openings(done),
    )
    records.write(path, measured)
    return change


def _row_changes(old: Sequence[Row], new: Sequence[Row]) -> list[RowChange]:
    before = {(row.task, row.method, row.strategy): [value.accuracy for value in row.values] for row in old}
    changes = []
    for row in new:
        was = before.get((row.task, row.method, row.strategy), [])
        changes.append(
            RowChange(
                row=f"{row.task} {row.method}/{row.strategy}",
                old=statistics.fmean(was) if was else None,
                old_seeds=len(was),
                new=statistics.fmean(value.accuracy for value in row.values),
                new_seeds=len(row.values),
            )
        )
    return changes


def _openings(done: Iterable[Record]) -> list[Opening]:
    newest = {(record.cell.experiment, record.cell.seed): record for record in done}
    return [
        Opening(
            task=record.cell.task,
            method=record.cell.method,
            experiment=record.cell.experiment,
            seed=record.cell.seed,
            losses=record.opening_losses,
        )
        for record in newest.values()
        if record.cell.seed < OPENING_SEEDS
    ]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return "unknown"


def _rows(done: Iterable[Record]) -> Iterable[Row]:
    grouped: dict[tuple[str, str, str, str], list[tuple[Record, records.StrategyRecord]]] = {}
    for record in done:
        for strategy in record.strategies:
            key = (record.cell.task, record.cell.method, strategy.strategy, record.cell.experiment)
            grouped.setdefault(key, []).append((record, strategy))
    for (task, method, strategy_name, experiment), pairs in grouped.items():
        by_seed = {
            record.cell.seed: Value(seed=record.cell.seed, accuracy=strategy.accuracy, commit=record.code.commit)
            for record, strategy in pairs
        }
        yield Row(
            task=task,
            method=method,
            strategy=strategy_name,
            experiment=experiment,
            samples=pairs[0][1].samples,
            values=[by_seed[seed] for seed in sorted(by_seed)],
        )
