"""Golden numbers: results that a seed must reproduce, bit-exact on an equal machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.records import Record
from bench.reference.measured import Golden, Machine
from bench.reference.verdicts import Check, Verdict

LOSS_TOLERANCE = 0.01
"""Relative difference of a loss of the first steps that is allowed on another machine."""
LOSS_FLOOR = 1e-3
"""Absolute difference that is always allowed on another machine: losses near 0 have no relative precision."""


@dataclass(frozen=True)
class Opening:
    """Results of a seed's first steps; see the fields of the same name in ``bench.reference.measured.Golden``.

    Attributes:
        accuracies: final ones, if the training was completed; else empty.
    """

    seed: int
    machine: Machine
    inputs: Mapping[str, str]
    losses: Mapping[str, Sequence[float]]
    accuracies: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Record) -> Opening:
        """The golden numbers of a record."""
        accuracies = {part.strategy: part.accuracy for part in record.strategies}
        machine = Machine.of(record.environment)
        return cls(record.cell.seed, machine, record.inputs, record.opening_losses, accuracies)


def check(blank: Check, openings: Sequence[Opening], goldens: Mapping[int, Golden]) -> Check:
    """Compare results of some of the suite's own seeds with the golden numbers by seed."""
    missing = [opening.seed for opening in openings if opening.seed not in goldens]
    if missing:
        note = f"no golden numbers of seed {', '.join(map(str, missing))} for these settings"
        return replace(blank, verdict="no reference", note=note)
    exact = True
    for opening in openings:
        golden = goldens[opening.seed]
        equal = golden.machine == opening.machine
        exact &= equal
        for verdict, difference in _differences(opening, golden, exact=equal):
            return replace(blank, verdict=verdict, note=difference)
    elsewhere = f"losses within {LOSS_TOLERANCE:.0%}: the stored ones are from another machine"
    return replace(blank, note="bit-exact" if exact else elsewhere, seeds=len(openings))


def exact_difference(opening: Opening, golden: Golden | None) -> str | None:
    """How a seed's numbers differ from the stored ones, in words; None if they are bit-exact."""
    if golden is None:
        return f"no golden numbers of seed {opening.seed}"
    if golden.machine != opening.machine:
        return f"those of seed {opening.seed} are from another machine"
    if set(opening.accuracies) != set(golden.accuracies):
        return f"strategies are {', '.join(opening.accuracies)}, stored are {', '.join(golden.accuracies)}"
    return next((difference for _, difference in _differences(opening, golden, exact=True)), None)


def _differences(opening: Opening, golden: Golden, *, exact: bool) -> Iterator[tuple[Verdict, str]]:
    found: dict[Verdict, str | None] = {
        "inputs differ": inputs_difference(opening.inputs, golden.inputs),
        "losses differ": loss_difference(opening.losses, golden.losses, exact=exact),
        "results differ": results_difference(opening.accuracies, golden.accuracies) if exact else None,
    }
    for verdict, difference in found.items():
        if difference:
            yield verdict, f"seed {opening.seed}: {difference}"


def inputs_difference(new: Mapping[str, str], stored: Mapping[str, str]) -> str | None:
    """The splits whose digest differs from the stored one, in words; None if all are equal."""
    changed = [split for split, digest in stored.items() if new.get(split) != digest]
    return f"the learner's {' and '.join(changed)} data have changed" if changed else None


def loss_difference(
    new: Mapping[str, Sequence[float]], stored: Mapping[str, Sequence[float]], *, exact: bool
) -> str | None:
    """The first loss of the opening steps that differs from the stored one, in words; None if all agree."""
    if set(new) != set(stored):
        return f"losses are {', '.join(sorted(new))}, stored are {', '.join(sorted(stored))}"
    shorter = [name for name, values in stored.items() if len(new[name]) < len(values)]
    if shorter:
        return f"loss {shorter[0]} has {len(new[shorter[0]])} steps, stored are {len(stored[shorter[0]])}"
    for step in range(min((len(values) for values in stored.values()), default=0)):
        for name, values in stored.items():
            here, there = new[name][step], values[step]
            allowed = 0.0 if exact else max(LOSS_FLOOR, LOSS_TOLERANCE * abs(there))
            if not abs(here - there) <= allowed:
                digits = 5 if abs(here - there) > 1e-4 * abs(there) else 9
                return f"loss {name} at step {step + 1} is {here:.{digits}g}, stored {there:.{digits}g}"
    return None


def results_difference(new: Mapping[str, float], stored: Mapping[str, float]) -> str | None:
    """The first final accuracy that differs from the stored one, in words; equal losses lead to equal results."""
    for strategy, accuracy in new.items():
        if strategy in stored and accuracy != stored[strategy]:
            return f"accuracy of {strategy} is {accuracy:.2f}, stored {stored[strategy]:.2f}, after equal first losses"
    return None
