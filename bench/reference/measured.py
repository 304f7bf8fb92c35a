"""Measured references: the raw per-seed values of a suite, with their provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from bench.errors import UserError
from bench.records import Code, Environment, Model, Record, Yardstick
from bench.reference import folder

FEWEST_SEEDS = 2
"""Minimum number of values in a row of a reference: one value has no deviation."""


class Value(Model):
    """Test accuracy (per cent, last epoch) of one seed, and the code that produced it."""

    seed: int
    accuracy: float
    commit: str | None


class StoredRow(Model):
    """The values of one strategy of one method on one task, of seeds that the suite itself does not run.

    Attributes:
        experiment: hash of everything that affects the values' distribution; other settings are not comparable.
        samples: number of test images.
    """

    task: str
    method: str
    strategy: str
    experiment: str
    samples: int
    values: list[Value]


class Machine(Model):
    """The machine properties that affect the last bits of a result: if all are equal, so is every number."""

    torch: str
    cpu: str
    isa: str
    threads: int
    gpu: str | None

    @classmethod
    def of(cls, here: Environment) -> Machine:
        """Take the machine properties from an environment."""
        return cls(torch=here.torch, cpu=here.cpu, isa=here.isa, threads=here.threads, gpu=here.gpu)


class Golden(Model):
    """Results of one of the suite's own seeds, number by number.

    Attributes:
        inputs: digests of the learner's input data, by split.
        losses: of the first training steps, one by one, by name.
        accuracies: of the last epoch on test data, per cent, by strategy.
    """

    task: str
    method: str
    experiment: str
    seed: int
    machine: Machine
    inputs: dict[str, str]
    losses: dict[str, list[float]]
    accuracies: dict[str, float]


class Repeat(Model):
    """Accuracies of a stored seed, run again by the code of the reference under another rounding.

    Attributes:
        accuracies: of the last epoch on test data, per cent, by strategy.
    """

    task: str
    method: str
    experiment: str
    seed: int
    machine: Machine
    accuracies: dict[str, float]


class Cost(Model):
    """Cost of training with one method, and of each strategy's prediction.

    Attributes:
        live_bytes: peak of live tensor bytes within a training step.
        predict_live_bytes: the same for a prediction, by strategy.
        yardstick: the method that speeds are relative to; null if none.
        speeds: images per second relative to the yardstick's, one value per seed with an undisturbed race.
    """

    task: str
    method: str
    experiment: str
    machine: Machine
    live_bytes: int
    predict_live_bytes: dict[str, int]
    yardstick: Yardstick | None
    speeds: list[float]


class RowChange(Model):
    """Mean accuracy (per cent) and number of seeds of a row before and after a change; null if the row is missing."""

    row: str
    old: float | None
    old_seeds: int
    new: float
    new_seeds: int


class Change(Model):
    """One change of a reference: who, when, why and how."""

    when: str
    who: str
    reason: str
    rows: list[RowChange]


class Measured(Model):
    """The measured references of one suite.

    Attributes:
        environment, code: of the newest values; each golden number and cost names its own machine.
        contents: by experiment, what it is a hash of, see ``bench.records.CellSpec.content``, so that a difference from
            the suite can be named; an experiment is missing here only in older files.
    """

    suite: str
    contents: dict[str, dict[str, Any]] = Field(default_factory=dict)
    environment: Environment
    code: Code
    history: list[Change]
    rows: list[StoredRow]
    goldens: list[Golden]
    costs: list[Cost]
    repeats: list[Repeat] = Field(default_factory=list)


def path_of(suite: str) -> Path:
    """The file that a suite's measured references are written to."""
    return folder.reference_folder() / "measured" / f"{suite}.json"


def load(suite: str) -> Measured | None:
    """The measured references of a suite, or None if there are none.

    Raises:
        UserError: if the file cannot be read.
    """
    path = folder.find(f"measured/{suite}.json")
    if path is None:
        return None
    try:
        return Measured.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{path} is not a valid file of measured references ({where} {first['msg']}); "
            "move it away to run without it, or to write a new one"
        ) from None


def golden(record: Record) -> Golden:
    """The golden numbers of a record."""
    return Golden(
        task=record.cell.task,
        method=record.cell.method,
        experiment=record.cell.experiment,
        seed=record.cell.seed,
        machine=Machine.of(record.environment),
        inputs=record.inputs,
        losses=record.opening_losses,
        accuracies={part.strategy: part.accuracy for part in record.strategies},
    )
