"""Adds repeats to a suite's measured references: stored seeds, run again under another rounding.

Another number of threads, processor or version of torch adds up in another order. How far the same seed then ends from
its stored accuracy says how much of a seed repeats, which narrows the check's limits; no stored value changes.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench import records
from bench.errors import UserError
from bench.records import CellSpec, Record
from bench.reference import golden
from bench.reference.check import blank
from bench.reference.measured import Change, Machine, Measured, Repeat, load, path_of
from bench.reference.update import change_now, check_code


def repeat(
    suite: str,
    expected: Sequence[tuple[CellSpec, tuple[str, ...]]],
    found: Sequence[Record],
    reason: str,
    *,
    any_code: bool = False,
) -> Change:
    """Store the accuracies of finished records of stored seeds by other machines or numbers of threads.

    A machine on which nothing of a method differs from what is stored rounds alike, and tells nothing of it.

    Args:
        suite: its name.
        expected: the suite's cells, each with its method's strategies.
        found: records; those of other experiments or seeds, and of the machine of their method's golden numbers, are
            left aside.
        reason: why, for the history.
        any_code: also accept records made by a different version of the code, if it is the same one for all.

    Returns:
        The new entry of the history, without rows.

    Raises:
        UserError: if there is no reference or nothing to add, or if a record's first steps are not those of the
            reference.
    """
    old = load(suite)
    if old is None:
        raise UserError(f"there are no measured references for suite {suite!r} to repeat")
    experiments = {cell.experiment for cell, _ in expected}
    made_on = {part.experiment: part.machine for part in old.goldens}
    elsewhere = [
        record
        for record in sorted(found, key=lambda record: record.created)
        if record.status == "ok"
        and record.cell.experiment in experiments
        and Machine.of(record.environment) != made_on.get(record.cell.experiment)
    ]
    stored = _accuracies(old)
    again = [record for record in elsewhere if (record.cell.experiment, record.cell.seed) in stored]
    otherwise = {_arithmetic(record) for record in again if _differs(record, stored, old)}
    new = {(*_arithmetic(record), record.cell.seed): record for record in again if _arithmetic(record) in otherwise}
    if not new:
        raise UserError(
            f"no record of {suite} repeats a stored seed under another rounding; "
            f"run `bench run {suite}` with another number of --threads, or on another machine"
        )
    check_code(suite, list(new.values()), any_code=any_code)
    _check_first_steps(old, list(new.values()))
    parts = {(part.experiment, part.machine.model_dump_json(), part.seed): part for part in old.repeats}
    change = change_now(reason, rows=[])
    parts |= {key: _part(record) for key, record in new.items()}
    update = {"history": [*old.history, change], "repeats": list(parts.values())}
    records.write(path_of(suite), old.model_copy(update=update))
    return change


def _accuracies(stored: Measured) -> dict[tuple[str, int], dict[str, float]]:
    """Accuracies by strategy, of every stored experiment and seed."""
    found: dict[tuple[str, int], dict[str, float]] = {}
    for row in stored.rows:
        for value in row.values:
            found.setdefault((row.experiment, value.seed), {})[row.strategy] = value.accuracy
    return found | {(part.experiment, part.seed): part.accuracies for part in stored.goldens}


def _arithmetic(record: Record) -> tuple[str, str]:
    """What decides how the numbers of a record are rounded, beside its seed."""
    return record.cell.experiment, Machine.of(record.environment).model_dump_json()


def _differs(record: Record, stored: dict[tuple[str, int], dict[str, float]], old: Measured) -> bool:
    """Whether an accuracy of a record, or a loss of its first steps, is not the stored one."""
    key = (record.cell.experiment, record.cell.seed)
    losses = [part.losses for part in old.goldens if (part.experiment, part.seed) == key]
    accuracies = {part.strategy: part.accuracy for part in record.strategies}
    return any(accuracies.get(name, value) != value for name, value in stored[key].items()) or any(
        golden.loss_difference(record.opening_losses, each, exact=True) for each in losses
    )


def _check_first_steps(old: Measured, new: Sequence[Record]) -> None:
    for record in new:
        goldens = {part.seed: part for part in old.goldens if part.experiment == record.cell.experiment}
        if record.cell.seed in goldens:
            cell = record.cell
            empty = blank(cell.task, cell.method, cell.experiment)
            told = golden.check(empty, [golden.Opening.of(record)], goldens)
            if told.verdict != "ok":
                raise UserError(f"{cell.task} {cell.method} does not repeat its reference ({told.note})")


def _part(record: Record) -> Repeat:
    return Repeat(
        task=record.cell.task,
        method=record.cell.method,
        experiment=record.cell.experiment,
        seed=record.cell.seed,
        machine=Machine.of(record.environment),
        accuracies={part.strategy: part.accuracy for part in record.strategies},
    )
