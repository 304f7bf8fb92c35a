"""Updates a suite's measured references from its finished records: the only way their values change."""

from __future__ import annotations

import datetime as dt
import getpass
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from bench import records
from bench.errors import UserError
from bench.measure import environment
from bench.records import CellSpec, Record
from bench.reference.measured import (
    FEWEST_SEEDS,
    Change,
    Cost,
    Golden,
    Machine,
    Measured,
    Repeat,
    RowChange,
    StoredRow,
    Value,
    golden,
    load,
    path_of,
)

Part = TypeVar("Part", StoredRow, Golden, Cost, Repeat)


def update(
    suite: str,
    expected: Sequence[tuple[CellSpec, tuple[str, ...]]],
    found: Sequence[Record],
    reason: str,
    *,
    any_code: bool = False,
    untouched: Sequence[str] = (),
) -> Change:
    """Replace the references of a suite by values from its finished records, and extend the file's history.

    Golden numbers come from the suite's own seeds, values from all others. Repeats of the values before are dropped.

    Args:
        suite: its name.
        expected: the suite's cells, each with its method's strategies.
        found: records; those of other experiments are left aside.
        reason: why, for the history.
        any_code: also accept records made by a different version of the code, if it is the same one for all.
        untouched: methods of the suite that are not in ``expected``: their stored values stay. Golden numbers and costs
            name the machine that made them.

    Returns:
        The new entry of the history.

    Raises:
        UserError: if a row of the suite has too few seeds or speeds, or if code or machine differ between the records.
    """
    wanted = {(c.task, c.method, strategy, c.experiment) for c, strategies in expected for strategy in strategies}
    own = {(cell.experiment, cell.seed) for cell, _ in expected}
    experiments = {experiment for *_, experiment in wanted}
    newest = {
        (record.cell.experiment, record.cell.seed): record
        for record in sorted(found, key=lambda record: record.created)
        if record.status == "ok" and record.cell.experiment in experiments
    }
    done = list(newest.values())
    others = [record for key, record in newest.items() if key not in own]
    mine = [record for key, record in newest.items() if key in own]
    _check_enough(suite, wanted, own, mine, others)
    check_makers(suite, done, any_code=any_code)
    costs = list(_costs(done))
    for cost in costs:
        if cost.yardstick is not None and len(cost.speeds) < FEWEST_SEEDS:
            raise UserError(
                f"{cost.task} {cost.method} has fewer than {FEWEST_SEEDS} undisturbed races; "
                f"run {suite} again with --force while the machine is quiet, or with more seeds"
            )
    old = load(suite)
    rows = list(_rows(others))
    change = change_now(reason, _row_changes(old.rows if old else [], rows))
    path = path_of(suite)
    path.parent.mkdir(parents=True, exist_ok=True)
    measured = Measured(
        suite=suite,
        contents=contents_of(expected, old, untouched),
        environment=done[-1].environment,
        code=done[-1].code,
        history=[*(old.history if old else []), change],
        rows=[*parts_of(old.rows if old else (), untouched), *rows],
        goldens=[*parts_of(old.goldens if old else (), untouched), *(golden(record) for record in mine)],
        costs=[*parts_of(old.costs if old else (), untouched), *costs],
        repeats=parts_of(old.repeats if old else (), untouched),
    )
    records.write(path, measured)
    return change


def contents_of(
    expected: Sequence[tuple[CellSpec, tuple[str, ...]]], old: Measured | None, untouched: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """What the experiments of a suite's cells, and those of the methods whose stored values stay, are hashes of."""
    stored = old.contents if old else {}
    staying = {key: content for key, content in stored.items() if content["method"] in untouched}
    return staying | {cell.experiment: cell.content for cell, _ in expected}


def parts_of(stored: Sequence[Part], methods: Sequence[str]) -> list[Part]:
    """The stored parts of some methods."""
    return [part for part in stored if part.method in methods]


def change_now(reason: str, rows: list[RowChange]) -> Change:
    """A new entry of a reference's history."""
    when = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return Change(when=when, who=_user(), reason=reason, rows=rows)


def _check_enough(
    suite: str,
    wanted: set[tuple[str, str, str, str]],
    own: set[tuple[str, int]],
    mine: Sequence[Record],
    others: Sequence[Record],
) -> None:
    seeds = max(seed for _, seed in own) + 1
    there = {(record.cell.experiment, record.cell.seed) for record in mine}
    for task, method, strategy, experiment in sorted(wanted):
        counted = [record for record in others if record.cell.experiment == experiment]
        values = sum(part.strategy == strategy for record in counted for part in record.strategies)
        if values < FEWEST_SEEDS:
            raise UserError(
                f"{task} {method}/{strategy} has fewer than {FEWEST_SEEDS} finished seeds beyond the suite's own "
                f"{seeds}; run ten with `bench run {suite} --seeds {seeds + 10}`"
            )
        missing = sorted(seed for key, seed in own if key == experiment and (key, seed) not in there)
        if missing:
            raise UserError(f"{task} {method} has no finished seed {missing[0]}; run it with `bench run {suite}`")


def check_makers(suite: str, done: Sequence[Record], *, any_code: bool) -> None:
    """Check that all records are from one machine and one version of the code, the current one unless ``any_code``."""
    check_code(suite, done, any_code=any_code)
    machines = {Machine.of(record.environment).model_dump_json() for record in done}
    if len(machines) > 1:
        raise UserError(
            f"the records of {suite} were made by {len(machines)} kinds of machine; rerun them with --force"
        )


def check_code(suite: str, done: Sequence[Record], *, any_code: bool) -> None:
    """Check that all records are from one version of the code, the current one unless ``any_code``."""
    makers = {record.cell.experiment: set[str]() for record in done}
    for record in done:
        makers[record.cell.experiment].add(environment.maker(record))
    most = max(map(len, makers.values()), default=0)
    if most > 1:
        raise UserError(f"the records of {suite} were made by {most} versions of the code; rerun them with --force")
    made_here = environment.made_here(any_code=any_code)
    if not all(made_here(record) for record in done):
        raise UserError(
            f"the records of {suite} were made by a different version of the code; "
            f"rerun them with `bench run {suite} --force`, or accept them with --any-code"
        )


def _row_changes(old: Sequence[StoredRow], new: Sequence[StoredRow]) -> list[RowChange]:
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


def _costs(done: Iterable[Record]) -> Iterable[Cost]:
    by_experiment: dict[str, list[Record]] = {}
    for record in done:
        by_experiment.setdefault(record.cell.experiment, []).append(record)
    for members in by_experiment.values():
        last = members[-1]
        training = [(record, record.training) for record in members if record.training is not None]
        alone = [(record, part) for record, part in training if not record.shared]
        comparable = [part.relative for record, part in alone if record.cell.yardstick == last.cell.yardstick]
        yield Cost(
            task=last.cell.task,
            method=last.cell.method,
            experiment=last.cell.experiment,
            machine=Machine.of(last.environment),
            live_bytes=max(part.peak_live_bytes for _, part in training),
            predict_live_bytes={
                part.strategy: max(
                    other.peak_live_bytes
                    for record, _ in training
                    for other in record.strategies
                    if other.strategy == part.strategy
                )
                for part in last.strategies
            },
            yardstick=last.cell.yardstick,
            speeds=[race.ratio for race in comparable if race is not None and not race.noisy],
        )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, the user may have no name
        return "unknown"


def _rows(done: Iterable[Record]) -> Iterable[StoredRow]:
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
        yield StoredRow(
            task=task,
            method=method,
            strategy=strategy_name,
            experiment=experiment,
            samples=pairs[0][1].samples,
            values=[by_seed[seed] for seed in sorted(by_seed)],
        )
