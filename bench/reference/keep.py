"""Keeping a suite's measured references where new code computes the same under other settings, as when one was added.

That it computes the same is not claimed but shown: each of the suite's own seeds, run by the new code, has to give the
stored golden numbers to the bit, from the digests of its data to its final accuracies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from bench import records
from bench.errors import UserError
from bench.records import CellSpec, Record
from bench.reference import golden
from bench.reference.check import counted
from bench.reference.measured import Change, Cost, Golden, Measured, Row, load, path_of
from bench.reference.update import change_now, check_makers

Part = TypeVar("Part", Row, Golden, Cost)


def keep(
    suite: str,
    expected: Sequence[tuple[CellSpec, tuple[str, ...]]],
    found: Sequence[Record],
    reason: str,
    *,
    any_code: bool = False,
) -> Change:
    """Store a suite's references under the settings that it has now; no value changes.

    Args:
        suite: its name.
        expected: the suite's cells, each with its method's strategies.
        found: records; only those of the suite's own seeds are looked at.
        reason: why, for the history.
        any_code: also take records that other code than that which is here has made, if it is all the same code.

    Returns:
        What was written into the history: no rows.

    Raises:
        UserError: if there is no reference, no record of one of the suite's own seeds, or one with other numbers.
    """
    old = load(suite)
    if old is None:
        raise UserError(f"there are no measured references for suite {suite!r} that could be kept")
    mine = counted(expected, [record for record in found if record.status == "ok"], lambda _: True)
    check_makers(suite, mine, any_code=any_code)
    specs = {spec.experiment: spec for spec, _ in expected}
    former = {
        experiment: _same(old, spec, [part for part, _ in expected if part.experiment == experiment], mine)
        for experiment, spec in specs.items()
    }
    change = change_now(reason, rows=[])
    kept = old.model_copy(
        update={
            "history": [*old.history, change],
            "rows": _renamed(old.rows, former),
            "goldens": _renamed(old.goldens, former),
            "costs": [
                cost.model_copy(update={"yardstick": specs[cost.experiment].yardstick})
                for cost in _renamed(old.costs, former)
            ],
        }
    )
    records.write(path_of(suite), kept)
    return change


def _same(old: Measured, spec: CellSpec, own: Iterable[CellSpec], mine: Sequence[Record]) -> str:
    """The stored experiment of the same task and method whose golden numbers this experiment's records all have."""
    name = f"{spec.task} {spec.method}"
    there = {record.cell.seed: record for record in mine if record.cell.experiment == spec.experiment}
    missing = [cell.seed for cell in own if cell.seed not in there]
    if missing:
        raise UserError(f"{name} has no finished seed {missing[0]}; `bench run {old.suite}` makes it")
    stored = [part for part in old.goldens if (part.task, part.method) == (spec.task, spec.method)]
    difference = "no golden numbers are stored"
    for experiment in dict.fromkeys(part.experiment for part in stored):
        goldens = {part.seed: part for part in stored if part.experiment == experiment}
        told = [golden.exact_difference(golden.Opening.of(there[seed]), goldens.get(seed)) for seed in sorted(there)]
        different = [each for each in told if each]
        if not different:
            return experiment
        difference = different[0]
    raise UserError(f"{name} computes something else than its reference ({difference}): it has to be measured anew")


def _renamed(parts: Sequence[Part], former: Mapping[str, str]) -> list[Part]:
    """The parts of the experiments that are kept, under their new hashes."""
    return [
        part.model_copy(update={"experiment": new})
        for new, before in former.items()
        for part in parts
        if part.experiment == before
    ]
