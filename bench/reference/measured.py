"""Measured references: the raw per-seed values of a suite, with where they come from."""

from __future__ import annotations

import datetime as dt
import getpass
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from bench import records
from bench.errors import UserError
from bench.records import Code, Environment, Record
from bench.reference.folder import reference_folder

OPENING_SEEDS = 1
"""How many seeds, from 0 on, have the losses of their first steps stored."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Value(_Model):
    """Test accuracy (per cent, last epoch) of one seed, and the code that made it."""

    seed: int
    accuracy: float
    commit: str | None


class Row(_Model):
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


class Opening(_Model):
    """The losses of the first training steps of one cell, one by one, by name."""

    task: str
    method: str
    experiment: str
    seed: int
    losses: dict[str, list[float]]


class Change(_Model):
    """Who changed a reference, when and why."""

    when: str
    who: str
    reason: str
    rows: int
    seeds: int


class Measured(_Model):
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


def update(suite: str, finished: Sequence[Record], reason: str) -> Measured:
    """Write the references of a suite anew from its finished records; the file's history goes on.

    Raises:
        UserError: if there is no finished record.
    """
    done = [record for record in finished if record.status == "ok"]
    if not done:
        raise UserError(
            f"no finished record of suite {suite!r} to make references from; `bench run {suite}` makes them"
        )
    old = load(suite)
    rows = list(_rows(done))
    change = Change(
        when=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        who=getpass.getuser(),
        reason=reason,
        rows=len(rows),
        seeds=len({record.cell.seed for record in done}),
    )
    newest = max(done, key=lambda record: record.created)
    measured = Measured(
        suite=suite,
        environment=newest.environment,
        code=newest.code,
        history=[*(old.history if old else []), change],
        rows=rows,
        openings=[
            Opening(
                task=record.cell.task,
                method=record.cell.method,
                experiment=record.cell.experiment,
                seed=record.cell.seed,
                losses=record.opening_losses,
            )
            for record in {(r.cell.experiment, r.cell.seed): r for r in sorted(done, key=lambda r: r.created)}.values()
            if record.cell.seed < OPENING_SEEDS
        ],
    )
    path = path_of(suite)
    path.parent.mkdir(parents=True, exist_ok=True)
    records.write(path, measured)
    return measured


def _rows(done: Iterable[Record]) -> Iterable[Row]:
    grouped: dict[tuple[str, str, str, str], list[tuple[Record, records.StrategyRecord]]] = {}
    for record in done:
        for strategy in record.strategies:
            key = (record.cell.task, record.cell.method, strategy.strategy, record.cell.experiment)
            grouped.setdefault(key, []).append((record, strategy))
    for (task, method, strategy_name, experiment), pairs in grouped.items():
        by_seed = {
            record.cell.seed: Value(seed=record.cell.seed, accuracy=strategy.accuracy, commit=record.code.commit)
            for record, strategy in sorted(pairs, key=lambda pair: pair[0].created)
        }
        yield Row(
            task=task,
            method=method,
            strategy=strategy_name,
            experiment=experiment,
            samples=pairs[0][1].samples,
            values=[by_seed[seed] for seed in sorted(by_seed)],
        )
