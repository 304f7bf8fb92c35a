"""Keeping a suite's measured references where new code computes the same under other settings, as when one was added.

That it computes the same is not claimed but shown: each of the suite's own seeds, run by the new code, has to give the
stored golden numbers to the bit, from the digests of its data to its final accuracies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench import records
from bench.errors import UserError
from bench.records import CellSpec, Record
from bench.reference import golden
from bench.reference.check import counted
from bench.reference.measured import Change, Cost, Measured, load, path_of
from bench.reference.update import Part, change_now, check_makers, parts_of


def keep(
    suite: str,
    expected: Sequence[tuple[CellSpec, tuple[str, ...]]],
    found: Sequence[Record],
    reason: str,
    *,
    any_code: bool = False,
    untouched: Sequence[str] = (),
) -> Change:
    """Store a suite's references under the settings that it has now; no value changes.

    What the suite no longer has is left out.

    Args:
        suite: its name.
        expected: the suite's cells, each with its method's strategies.
        found: records; only those of the suite's own seeds are looked at.
        reason: why, for the history.
        any_code: also take records that other code than that which is here has made, if it is all the same code.
        untouched: methods of the suite that are not among the expected: what is stored of them stays.

    Returns:
        What was written into the history: no rows.

    Raises:
        UserError: if there is no reference, no record of one of the suite's own seeds, or one with other numbers
            or from another machine.
    """
    old = load(suite)
    if old is None:
        raise UserError(f"there are no measured references for suite {suite!r} that could be kept")
    yardstick = expected[0][0].yardstick
    if yardstick is not None and yardstick.method in untouched:
        raise UserError(f"all speeds are beside {yardstick.method}: it has to be among the methods that are kept")
    mine = counted(expected, [record for record in found if record.status == "ok"], lambda _: True)
    specs = {spec.experiment: spec for spec, _ in expected}
    _check_all_there(suite, [spec for spec, _ in expected], mine)
    check_makers(suite, mine, any_code=any_code)
    former = {
        experiment: _same(old, spec, [record for record in mine if record.cell.experiment == experiment])
        for experiment, spec in specs.items()
    }
    change = change_now(reason, rows=[])
    kept = old.model_copy(
        update={
            "history": [*old.history, change],
            "rows": [*parts_of(old.rows, untouched), *_renamed(old.rows, former)],
            "goldens": [*parts_of(old.goldens, untouched), *_renamed(old.goldens, former)],
            "costs": [
                _beside(cost, expected[0][0], former)
                for cost in (*parts_of(old.costs, untouched), *_renamed(old.costs, former))
            ],
        }
    )
    records.write(path_of(suite), kept)
    return change


def _check_all_there(suite: str, own: Sequence[CellSpec], mine: Sequence[Record]) -> None:
    there = {(record.cell.experiment, record.cell.seed) for record in mine}
    for spec in own:
        if (spec.experiment, spec.seed) not in there:
            raise UserError(f"{spec.task} {spec.method} has no finished seed {spec.seed}; `bench run {suite}` makes it")


def _same(old: Measured, spec: CellSpec, mine: Sequence[Record]) -> str:
    """The stored experiment of the same task and method whose golden numbers this experiment's records all have."""
    name = f"{spec.task} {spec.method}"
    stored = [part for part in old.goldens if (part.task, part.method) == (spec.task, spec.method)]
    if not stored:
        raise UserError(f"{name} has no golden numbers in the reference; it has to be measured")
    difference = ""
    for experiment in dict.fromkeys(part.experiment for part in stored):
        goldens = {part.seed: part for part in stored if part.experiment == experiment}
        told = [golden.exact_difference(golden.Opening.of(record), goldens.get(record.cell.seed)) for record in mine]
        different = [each for each in told if each]
        if not different:
            return experiment
        difference = different[0]
    raise UserError(f"{name} cannot be shown to compute what its reference does ({difference}); measure it anew")


def _beside(cost: Cost, spec: CellSpec, former: Mapping[str, str]) -> Cost:
    """Speeds beside the yardstick of now, which any cell of the suite has, if it is that of then under new settings."""
    if spec.yardstick is None or cost.yardstick is None:
        return cost
    then, now = (spec.model_copy(update=each.model_dump()).experiment for each in (cost.yardstick, spec.yardstick))
    return cost.model_copy(update={"yardstick": spec.yardstick}) if former.get(now) == then else cost


def _renamed(parts: Sequence[Part], former: Mapping[str, str]) -> list[Part]:
    """The parts of the experiments that are kept, under their new hashes."""
    return [
        part.model_copy(update={"experiment": new})
        for new, before in former.items()
        for part in parts
        if part.experiment == before
    ]
