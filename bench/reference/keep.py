"""Keeps a suite's measured references when its settings change but not its results, as when a setting is added.

This must be shown: each of the suite's own seeds, run by the new code, has to reproduce the stored golden numbers
bit-exactly, from the digests of its data to its final accuracies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench import records
from bench.errors import UserError
from bench.records import CellSpec, Record
from bench.reference import golden
from bench.reference.check import counted
from bench.reference.measured import Change, Cost, Measured, load, path_of
from bench.reference.update import Part, change_now, check_makers, contents_of, parts_of


def keep(
    suite: str,
    expected: Sequence[tuple[CellSpec, tuple[str, ...]]],
    found: Sequence[Record],
    reason: str,
    *,
    any_code: bool = False,
    untouched: Sequence[str] = (),
) -> Change:
    """Store a suite's references under its current settings; no value changes.

    References to experiments that the suite no longer has are dropped.

    Args:
        suite: its name.
        expected: the suite's cells, each with its method's strategies.
        found: records; only those of the suite's own seeds are looked at.
        reason: why, for the history.
        any_code: also accept records made by a different version of the code, if it is the same one for all.
        untouched: methods of the suite that are not in ``expected``: their stored values stay.

    Returns:
        The new entry of the history, without rows.

    Raises:
        UserError: if there is no reference, a record of one of the suite's own seeds is missing, or one has other
        numbers
            or is from another machine.
    """
    old = load(suite)
    if old is None:
        raise UserError(f"there are no measured references for suite {suite!r} to keep")
    yardstick = expected[0][0].yardstick
    if yardstick is not None and yardstick.method in untouched:
        raise UserError(f"all speeds are relative to {yardstick.method}: it must be among the methods to keep")
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
            "contents": contents_of(expected, old, untouched),
            "history": [*old.history, change],
            "rows": [*parts_of(old.rows, untouched), *_renamed(old.rows, former)],
            "goldens": [*parts_of(old.goldens, untouched), *_renamed(old.goldens, former)],
            "costs": [
                _re_expressed(cost, expected[0][0], former)
                for cost in (*parts_of(old.costs, untouched), *_renamed(old.costs, former))
            ],
            "repeats": [*parts_of(old.repeats, untouched), *_renamed(old.repeats, former)],
        }
    )
    records.write(path_of(suite), kept)
    return change


def _check_all_there(suite: str, own: Sequence[CellSpec], mine: Sequence[Record]) -> None:
    there = {(record.cell.experiment, record.cell.seed) for record in mine}
    for spec in own:
        if (spec.experiment, spec.seed) not in there:
            raise UserError(f"{spec.task} {spec.method} has no finished seed {spec.seed}; run `bench run {suite}`")


def _same(old: Measured, spec: CellSpec, mine: Sequence[Record]) -> str:
    """The stored experiment of the same task and method whose golden numbers equal those of all these records."""
    name = f"{spec.task} {spec.method}"
    stored = [part for part in old.goldens if (part.task, part.method) == (spec.task, spec.method)]
    if not stored:
        raise UserError(f"{name} has no golden numbers in the reference; measure it with `bench reference update`")
    difference = ""
    for experiment in dict.fromkeys(part.experiment for part in stored):
        goldens = {part.seed: part for part in stored if part.experiment == experiment}
        told = [golden.exact_difference(golden.Opening.of(record), goldens.get(record.cell.seed)) for record in mine]
        different = [each for each in told if each]
        if not different:
            return experiment
        difference = different[0]
    raise UserError(f"{name} does not reproduce its reference ({difference}); measure it again")


def _re_expressed(cost: Cost, spec: CellSpec, former: Mapping[str, str]) -> Cost:
    """Re-express stored speeds relative to the current yardstick, if it is the old one under new settings."""
    if spec.yardstick is None or cost.yardstick is None:
        return cost
    then, now = (spec.model_copy(update=each.model_dump()).experiment for each in (cost.yardstick, spec.yardstick))
    return cost.model_copy(update={"yardstick": spec.yardstick}) if former.get(now) == then else cost


def _renamed(parts: Sequence[Part], former: Mapping[str, str]) -> list[Part]:
    """The parts of the kept experiments, under their new hashes."""
    return [
        part.model_copy(update={"experiment": new})
        for new, before in former.items()
        for part in parts
        if part.experiment == before
    ]
