"""The two sides of a comparison: matching experiments of a method, and how they differ, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.records import CellSpec, Found, Record
from bench.records.names import conditions_of

NO_INFLUENCE = ("yardstick",)
"""Conditions that affect neither accuracy nor training speed."""
BESIDE_THE_EXPERIMENT = ("loader", "device", "threads", *NO_INFLUENCE)


@dataclass(frozen=True)
class Side:
    """One experiment on one side; empty if that side does not have it.

    Attributes:
        cell: one of its cells.
        counted: by seed, the newest successful record.
        problems: by seed, what happened to those without such a record.
    """

    cell: CellSpec | None = None
    counted: Mapping[int, Record] = field(default_factory=dict)
    problems: Mapping[int, str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether every attempt failed."""
        return bool(self.problems) and not self.counted

    def accuracies(self, strategy: str) -> dict[int, float]:
        """Test accuracy of the last epoch, per cent, by seed."""
        parts = [(seed, part) for seed, record in self.counted.items() for part in record.strategies]
        return {seed: part.accuracy for seed, part in parts if part.strategy == strategy}

    def samples(self, strategy: str) -> int:
        """Number of test images behind an accuracy."""
        parts = [part for record in self.counted.values() for part in record.strategies]
        return next(part.samples for part in parts if part.strategy == strategy)

    def speeds(self) -> dict[int, float]:
        """Images per second of training, loader included, by seed."""
        return {seed: record.training.images_per_second for seed, record in self.counted.items() if record.training}

    def noisy_seeds(self) -> list[int]:
        """Seeds whose timing is unreliable: the machine was busy, or ran other cells too."""
        timed = {seed: record for seed, record in self.counted.items() if record.training is not None}
        return [seed for seed, record in timed.items() if record.shared or (record.training and record.training.noisy)]


def by_method(found: Found) -> dict[tuple[str, str], dict[str, Side]]:
    """The experiments of a folder, by task and method, then by ``CellSpec.experiment``."""
    without = [(cell, "interrupted") for cell in found.stopped]
    without += [(cell, "a process is running it now") for cell in found.running]
    without += [(part.cell, part.reason) for part in found.unreadable if part.cell is not None]
    without += [(record.cell, f"{record.status}: {record.error}") for record in found.records if record.status != "ok"]
    good = sorted((record for record in found.records if record.status == "ok"), key=lambda record: record.created)
    cells = [*(record.cell for record in good), *(cell for cell, _ in without)]
    experiments: dict[tuple[str, str], dict[str, Side]] = {}
    for experiment, cell in {cell.experiment: cell for cell in cells}.items():
        counted = {record.cell.seed: record for record in good if record.cell.experiment == experiment}
        problems = {other.seed: what for other, what in without if other.experiment == experiment}
        experiments.setdefault((cell.task, cell.method), {})[experiment] = Side(
            cell=cell,
            counted=dict(sorted(counted.items())),
            problems={seed: what for seed, what in sorted(problems.items()) if seed not in counted},
        )
    return experiments


def pairs(a: Mapping[str, Side], b: Mapping[str, Side]) -> list[tuple[Side, Side]]:
    """Pairs of one method on one task to compare: equal experiments, or the only one of each side."""
    if len(a) == len(b) == 1:
        return list(zip(a.values(), b.values(), strict=True))
    return [(a.get(experiment, Side()), b.get(experiment, Side())) for experiment in dict.fromkeys([*a, *b])]


def settings_of(a: Side, b: Side) -> dict[str, Any]:
    """The settings that differ between an experiment and others of its method."""
    cell = a.cell or b.cell
    conditions = {} if cell is None else conditions_of(cell)
    return {key: value for key, value in conditions.items() if key not in BESIDE_THE_EXPERIMENT}


def problems(a: Side, b: Side) -> list[str]:
    """Failures, one note per reason."""
    notes: dict[str, list[int]] = {}
    for name, side in (("A", a), ("B", b)):
        for seed, what in side.problems.items():
            notes.setdefault(f"{name}, {{}}: {what}", []).append(seed)
    return [note.replace("{}", _seeds(seeds), 1) for note, seeds in notes.items()]


def differences(a: Side, b: Side) -> list[str]:
    """Notes on differences other than the code: settings, machine, and the learner's input data."""
    whole = all(record.cell.described for side in (a, b) for record in side.counted.values())
    one, other = _circumstances(a, in_full=whole), _circumstances(b, in_full=whole)
    changed = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    told = ", ".join(f"{key} is {one.get(key, 'absent')} in A, {other.get(key, 'absent')} in B" for key in changed)
    notes = [f"conditions differ: {told}"] if changed else []
    shared = [seed for seed in a.counted if seed in b.counted]
    given = [seed for seed in shared if a.counted[seed].inputs != b.counted[seed].inputs]
    if given and not changed and all(side.counted[seed].inputs for side in (a, b) for seed in given):
        notes.append(f"other images, labels or order: {_seeds(given)}")
    return notes


def other_losses(a: Side, b: Side) -> list[str]:
    """A note if the training losses of a seed differ even where the accuracies do not."""
    shared = [seed for seed in a.counted if seed in b.counted]
    seeds = [seed for seed in shared if _losses(a.counted[seed]) != _losses(b.counted[seed])]
    return [f"the training losses differ nevertheless: {_seeds(seeds)}"] if seeds else []


def noise(a: Side, b: Side) -> list[str]:
    """A note if a timing is unreliable."""
    told = [f"{name} {_seeds(side.noisy_seeds())}" for name, side in (("A", a), ("B", b)) if side.noisy_seeds()]
    return [f"timing is noisy, the machine was busy: {', '.join(told)}"] if told else []


def _losses(record: Record) -> tuple[Any, ...]:
    return record.opening_losses, [epoch.losses for epoch in record.epochs]


def _circumstances(side: Side, *, in_full: bool) -> dict[str, str]:
    """Conditions and machine of the counted records; several values where they differ.

    Without ``in_full``, the settings of the cells as they are: beside an older record, which lacks what was at its
    default, the full settings of another would look different.
    """
    values: dict[str, set[str]] = {}
    for record in side.counted.values():
        machine = record.environment.model_dump(include={"torch", "cpu", "isa", "gpu"})
        cell = record.cell if in_full else record.cell.model_copy(update={"described": None})
        for key, value in (conditions_of(cell) | machine).items():
            if key not in NO_INFLUENCE:
                values.setdefault(key, set()).add(str(value))
    return {key: " or ".join(sorted(several)) for key, several in values.items()}


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
