"""The spec of a cell, and the names derived from it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.options import RunOptions

Scaling = Literal["standard", "unit", "rms"]
Split = Literal["stratified", "random"]
Precision = Literal["float32", "tf32", "bf16"]
Execution = Literal["eager", "compiled"]


class Model(BaseModel):
    """Immutable data without unknown keys or non-finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Yardstick(Model):
    """The method, with its settings, that a cell's speed is compared with."""

    method: str
    settings: dict[str, Any]


class Start(Model):
    """The checkpoint that a cell starts from: that of other settings after so many epochs on the same data."""

    method: str
    settings: dict[str, Any]
    epochs: int


class Tuned(Model):
    """The tuning budget of a cell's settings: trials of so many epochs, seconds in total, and the study's name."""

    study: str
    trials: int
    epochs: int
    seconds: float


class Description(Model):
    """What a method says of its settings on a task, for tables and figures: so that these need no method.

    Attributes:
        settings: in full, with the defaults that a cell's own settings leave out.
        strategies: names of the method's prediction strategies.
        between: the layers between the convolutions, in words; null if the method does not say.
        optimiser: its optimiser, rates and schedule, in words; null likewise.
        family: the method, with the kind of network that its settings choose.
        published: the rows (method, variant) of published.csv that it is compared with, the closest first.
        dataset: the task's title, in the column of that name of published.csv; null if the task is not installed.
        class_names: a name for every class of the task; empty if it has none.
    """

    settings: dict[str, Any]
    strategies: tuple[str, ...]
    between: str | None
    optimiser: str | None
    family: str
    published: tuple[tuple[str, str], ...]
    dataset: str | None
    class_names: tuple[str, ...]


class CellSpec(Model):
    """One training run, completely: the same spec on the same machine gives the same numbers.

    Attributes:
        tuning: budget of tuning its settings, if they were tuned; it affects no number and no name.
        resolutions: (epoch, side) pairs, see ``bench.data.batches.framing.Framing``; null for the task's own size.
        packing: how the FFCV loader stores image files, see ``bench.data.ffcv.packing``; null for their original bytes.
        resize: side of the task's images, resized when they are read; null for their own size.
        scaling: from pixel values to inputs, see ``bench.data.batches.scaling``.
        split, validation_samples: the samples held back for validation, see ``bench.data.sets.splits.split``.
        augmented_validation: whether validation images are augmented too, in every epoch alike.
        precision: of the arithmetic, see ``bench.measure.precision``.
        execution: training steps as they are written ("eager"), or by PyTorch's compiler, see
            ``bench.methods.Compilable``.
        described: what the method says of it, see ``bench.suites.describe``; it affects no number and no name. Null in
            older records, and where the method was not asked.
    """

    method: str
    settings: dict[str, Any]
    task: str
    seed: int
    epochs: int
    batch_size: int
    augmentation: tuple[str, ...]
    train_samples: int | None
    loader: str
    device: str
    threads: int
    yardstick: Yardstick | None = None
    start: Start | None = None
    resolutions: tuple[tuple[int, int], ...] | None = None
    packing: str | None = None
    resize: int | None = None
    scaling: Scaling = "standard"
    split: Split = "stratified"
    validation_samples: int | None = None
    augmented_validation: bool = False
    precision: Precision = "float32"
    execution: Execution = "eager"
    tuning: Tuned | None = None
    described: Description | None = None

    @property
    def experiment(self) -> str:
        """Hash of what determines the accuracies' distribution: all but seed, loader, device, threads, yardstick."""
        return hash_of(self.content)

    @property
    def content(self) -> dict[str, Any]:
        """What determines the accuracies' distribution, as JSON types."""
        without = {"seed", "loader", "device", "threads", "yardstick"} | self._absent
        return self.model_dump(mode="json", exclude=without)

    @property
    def id(self) -> str:
        """Name of the cell's folder: readable, and unique through a hash of the whole spec."""
        hashed = hash_of(self.model_dump(mode="json", exclude=self._absent))
        return f"{self.task}-{self.method}-seed{self.seed}-{hashed}"

    @property
    def begins_with(self) -> CellSpec | None:
        """The cell that trains this one's starting checkpoint: the same except for the fields of ``start``."""
        if self.start is None:
            return None
        other = {**dict(self.start), "start": None, "yardstick": None, "tuning": None, "described": None}
        return self.model_copy(update=other)

    @property
    def _absent(self) -> set[str]:
        """The fields that are no part of the cell's identity.

        Every field with a default was added later; its default leaves the computation as it was before. Such fields are
        left out while they have it, as neutral settings are at their neutral value: cells keep their names.
        """
        fields = type(self).model_fields
        later = {name for name, field in fields.items() if not field.is_required()}
        return {name for name in later if getattr(self, name) == fields[name].default} | {"tuning", "described"}


class CellOptions(Model):
    """How a cell's process runs its cell: nothing here changes a result.

    Attributes:
        suite: name of the suite that it runs for, for the record.
        overrides: changes to the suite, for the record, see ``bench.options.RunOptions.changes``.
        data_dir: folder of the data sets; null for the usual places.
        force: start from the first epoch, even if there is a state to resume from.
        keep: leave the final weights in the folder.
        rough: time steps and predictions only once.
    """

    suite: str
    overrides: dict[str, Any] = Field(default_factory=dict)
    data_dir: Path | None = None
    force: bool = False
    keep: bool = False
    rough: bool = False

    @classmethod
    def of(cls, options: RunOptions) -> CellOptions:
        """Those of a run."""
        return cls(
            suite=options.suite,
            overrides=options.changes,
            data_dir=options.data,
            force=options.force,
            keep=options.keep,
            rough=options.rough,
        )


def hash_of(content: Any) -> str:
    """Hash of JSON types, whatever the order of their keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
