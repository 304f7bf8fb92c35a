"""The record of a cell: what was run, with what, and what came out. One JSON file, written whole or not at all."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import filelock
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from bench.errors import UserError

RECORD_FILE = "record.json"
CELL_FILE = "cell.json"
LOCK_FILE = ".lock"
LEARNED_FILE = "learned.pt"
"""The state after the last epoch of a cell that others begin with."""
SCHEMA = 1

Status = Literal["ok", "diverged", "failed", "timeout", "interrupted"]
FINISHED: tuple[Status, ...] = ("ok", "diverged")
"""A cell with one of these has nothing to gain from another try."""


class Model(BaseModel):
    """Data that is exactly what it says: no unknown keys, no infinities, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Yardstick(Model):
    """The method, with its settings, that a cell's speed is compared with."""

    method: str
    settings: dict[str, Any]


class Start(Model):
    """What a cell begins with: what other settings have learned in so many epochs of the same data."""

    method: str
    settings: dict[str, Any]
    epochs: int


class Tuned(Model):
    """What was spent on finding a cell's settings: trials of so many epochs, and seconds in all; and in which study."""

    study: str
    trials: int
    epochs: int
    seconds: float


class CellSpec(Model):
    """One training run, completely: the same spec on the same machine gives the same numbers.

    Attributes:
        tuning: what was spent on its settings, where they were tuned; it changes no number, and is no part of a name.
        resolutions: (epoch, side) pairs, see ``bench.data.framing.Framing``; null for the task's own size.
        packing: how the FFCV loader stores image files, see ``bench.data.packing``; null for the files' own bytes.
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
    tuning: Tuned | None = None

    @property
    def experiment(self) -> str:
        """Hash of what the distribution of accuracies depends on: all but seed, loader, device, threads, yardstick."""
        without = {"seed", "loader", "device", "threads", "yardstick"} | self._absent
        return _hash(self.model_dump(mode="json", exclude=without))

    @property
    def id(self) -> str:
        """Name of the cell's folder: readable, and unique through a hash of the whole spec."""
        hashed = _hash(self.model_dump(mode="json", exclude=self._absent))
        return f"{self.task}-{self.method}-seed{self.seed}-{hashed}"

    @property
    def begins_with(self) -> CellSpec | None:
        """The cell whose learner this one takes over from: the same but for what ``start`` says."""
        if self.start is None:
            return None
        return self.model_copy(update={**dict(self.start), "start": None, "yardstick": None, "tuning": None})

    @property
    def _absent(self) -> set[str]:
        """Fields that cells did not have at first: where they are empty, cells keep the names that they had then."""
        later = ("yardstick", "start", "resolutions", "packing")
        return {name for name in later if getattr(self, name) is None} | {"tuning"}


class Code(Model):
    """Which code ran. ``fingerprint`` hashes the source files, so that an uncommitted change shows too."""

    version: str
    commit: str | None
    dirty: bool | None
    fingerprint: str


class Environment(Model):
    """Where it ran."""

    python: str
    torch: str
    numpy: str
    ffcv: str | None
    platform: str
    cpu: str
    gpu: str | None
    cores: int
    threads: int
    isa: str
    deterministic_algorithms: bool


class Noise(Model):
    """What else the machine did during a segment, in per cent of the segment; null where it cannot be read."""

    cpu_pressure: float | None
    steal: float | None
    noisy: bool


class EpochRecord(Model):
    """One epoch. Accuracies are per cent, on validation data.

    Attributes:
        seconds: of the training segment alone, evaluation and a process's first batch left out.
        images: trained on in that segment.
        layers: accuracy of each layer alone; null for a method whose layers do not predict.
        layer_goodness: mean goodness of each layer, over validation images.
        layer_seconds: of each layer's part of a training step, median of several steps on one cached batch; null in
            epochs that train no layer.
        layer_live_bytes: peak of live tensor bytes during each layer's part of a step; null like the seconds.
        layer_means: by name, the mean of each layer's values, see ``Record.layer_values``.
        peak_bytes, peak_reserved_bytes, energy_joules: of the segment, see ``TrainingRecord``; null where they were not
            or cannot be measured.
    """

    epoch: int
    seconds: float
    images: int
    losses: dict[str, float]
    validation: dict[str, float]
    layers: list[float] | None
    layer_goodness: list[float] | None = None
    layer_seconds: list[float] | None = None
    layer_live_bytes: list[int] | None = None
    layer_means: dict[str, list[float]] = {}
    peak_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    energy_joules: float | None = None
    noise: Noise


class Relative(Model):
    """Speed of training steps beside the yardstick's, on one cached batch, taking turns in one process.

    Attributes:
        yardstick: the method compared with.
        ratio, ratio_iqr: images per second over the yardstick's, median and interquartile range over the rounds.
        same, same_iqr: the same of a second copy of the yardstick: what the ratio of equals looks like here.
    """

    yardstick: str
    ratio: float
    ratio_iqr: float
    same: float
    same_iqr: float
    rounds: int
    noisy: bool


class TrainingRecord(Model):
    """Throughput (images per second), memory (bytes) and work of training.

    Attributes:
        images_per_second: end to end, loader included; median over the epochs from the second on (of the only
            epoch, where there is one), with minimum and interquartile range beside it.
        images_per_second_compute: one cached batch, no loader.
        peak_rss_bytes: peak resident size over the first epoch minus the size before it (CUDA: peak allocated). Later
            epochs stand on memory that evaluation has left behind.
        peak_reserved_bytes: CUDA only, peak reserved by the allocator.
        peak_live_bytes: peak of all tensor storages alive at once within one step, of the phase of training (layers
            that freeze, classifiers that come later) that needs most.
        live_parameter_bytes, live_gradient_bytes, live_optimiser_bytes: shares of that, by owner, after the step.
        parameter_bytes, state_bytes: all trained parameters; everything that a checkpoint holds.
        energy_joules, energy_note: over training, from a counter where one can be read; else null and why.
    """

    seconds: float
    first_batch_seconds: float
    images_per_second: float
    images_per_second_minimum: float
    images_per_second_iqr: float
    images_per_second_compute: float
    peak_rss_bytes: int | None
    peak_reserved_bytes: int | None
    peak_live_bytes: int
    live_parameter_bytes: int
    live_gradient_bytes: int
    live_optimiser_bytes: int
    parameter_bytes: int
    state_bytes: int
    parameters: int
    flops_per_image: float
    energy_joules: float | None
    energy_note: str | None
    noisy: bool
    relative: Relative | None = None


class StrategyRecord(Model):
    """How one strategy predicts. Accuracies are per cent on test data.

    Attributes:
        accuracy: of the last epoch, the headline.
        best_validation_epoch, accuracy_at_best_validation: of the epoch chosen on validation data.
        samples: number of test images.
        weights: shapes of the kernels and matrices that it predicts with; null in older records.
        noisy: something else disturbed the measurement of the speed, each time that it was tried.
    """

    strategy: str
    accuracy: float
    best_validation_epoch: int
    accuracy_at_best_validation: float
    samples: int
    images_per_second: float
    peak_live_bytes: int
    parameters: int
    parameter_bytes: int
    flops_per_image: float
    weights: tuple[tuple[int, ...], ...] | None = None
    noisy: bool = False


class WorkRecord(Model):
    """Multiply-accumulate operations per test image, of a method for which images do not cost the same.

    Attributes:
        macs, macs_deviation: mean and standard deviation over the images.
        macs_quantiles: at 0, 5, 25, 50, 75, 95 and 100 %.
        macs_by_class: mean of the images of each class; null for a class without any.
        macs_of_right, macs_of_wrong: mean of those that are predicted right, and wrong.
        layers: share of each layer that runs, first to last, mean over the images.
        layers_by_class: the same of each class; empty for one without images.
    """

    macs: float
    macs_deviation: float
    macs_quantiles: list[float]
    macs_by_class: list[float | None]
    macs_of_right: float | None
    macs_of_wrong: float | None
    layers: list[float]
    layers_by_class: list[list[float]]


class Record(Model):
    """What one cell leaves. ``training`` and ``strategies`` are there if the status is ok.

    Attributes:
        opening_losses: of the first steps of training, one by one, by name: they change with any change to the
            computation, and barely with the machine.
        inputs: digest of the first training, validation and test batch as the learner gets it, and of all labels.
        layer_values: by name, what layers have to show after the last epoch, such as parameters of gates; a list per
            layer that has such.
        work: what predicting test images takes, where that depends on the image.
        nondeterministic: operations that ran although they may give other bits each time (CUDA only).
    """

    schema_version: Literal[1] = 1
    id: str
    cell: CellSpec
    suite: str
    status: Status
    error: str | None
    created: str
    code: Code
    environment: Environment
    epochs: list[EpochRecord]
    opening_losses: dict[str, list[float]]
    inputs: dict[str, str] = {}
    nondeterministic: list[str] = []
    layer_values: dict[str, list[list[float]]] = {}
    work: WorkRecord | None = None
    training: TrainingRecord | None
    strategies: list[StrategyRecord]

    @model_validator(mode="after")
    def _whole(self) -> Record:
        if self.id != self.cell.id:
            raise ValueError(f"id {self.id} is not that of its cell, {self.cell.id}")
        if self.status == "ok" and not (self.epochs and self.training and self.strategies):
            raise ValueError("status is ok, but epochs, training or strategies are missing")
        return self


def write(path: Path, model: BaseModel) -> None:
    """Write a model as JSON: to a temporary name in the same folder first, so that no reader sees half of it."""
    write_text(path, model.model_dump_json(indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a text file as a whole; a killed process leaves the old one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class Unreadable(NamedTuple):
    """A record that cannot be read: its file, why, and the spec of its cell where that can be read."""

    path: Path
    reason: str
    cell: CellSpec | None


class Found(NamedTuple):
    """What is in a folder of runs.

    Attributes:
        records: those that can be read.
        stopped: cells without a record that nobody is running.
        running: cells without a record that a process is running now.
        unreadable: records that cannot be read, of an older schema or damaged.
    """

    records: Sequence[Record]
    stopped: Sequence[CellSpec] = ()
    running: Sequence[CellSpec] = ()
    unreadable: Sequence[Unreadable] = ()


def read(path: Path) -> Record:
    """A record from its file.

    Raises:
        UserError: if it is not valid JSON or not a record of this schema.
    """
    content = path.read_bytes()
    try:
        return Record.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = _other_schema(content) or (f"{where}: {first['msg']}" if where else first["msg"])
        raise UserError(f"{path} is not a record that can be read ({reason})") from None


def _other_schema(content: bytes) -> str | None:
    """That a record is of another schema, in words."""
    try:
        version = json.loads(content)["schema_version"]
    except (ValueError, KeyError, TypeError):
        return None
    return None if version == SCHEMA else f"its schema is {version!r}, this version reads {SCHEMA}"


def read_cell(path: Path) -> CellSpec:
    """The spec in a cell's folder, for a cell that has no record yet; a UserError if it cannot be read."""
    try:
        return CellSpec.model_validate_json(path.read_bytes())
    except ValidationError:
        raise UserError(f"{path} is not the spec of a cell; delete its folder to run the cell again") from None


def read_all(runs: Path) -> Found:
    """Everything below a folder of runs.

    Raises:
        UserError: if the folder does not exist, or if a cell has neither record nor spec that can be read.
    """
    if not runs.is_dir():
        raise UserError(f"folder of runs {str(runs)!r} does not exist; `bench run` makes one")
    records: list[Record] = []
    stopped: list[CellSpec] = []
    running: list[CellSpec] = []
    unreadable: list[Unreadable] = []
    for folder in _cell_folders(runs):
        path = folder / RECORD_FILE
        if not path.is_file():
            (running if is_running(folder) else stopped).append(read_cell(folder / CELL_FILE))
            continue
        try:
            records.append(read(path))
        except UserError as error:
            unreadable.append(Unreadable(path, str(error), _cell_or_none(folder)))
    return Found(records, stopped, running, unreadable)


def notes(found: Found) -> list[str]:
    """What to tell a user about the records that cannot be read."""
    return [f"{part.reason}; `bench run` sets it aside and measures it again" for part in found.unreadable]


def set_aside(path: Path) -> Path:
    """Rename a record that cannot be read, so that another may take its place; gives its new path."""
    for number in itertools.count(1):
        target = path.with_name(f"record-unreadable-{number}.json")
        if not target.exists():
            break
    path.rename(target)
    return target


def is_running(folder: Path) -> bool:
    """Whether a process holds the cell's lock."""
    lock = filelock.FileLock(folder / LOCK_FILE)
    if not (folder / LOCK_FILE).exists():
        return False
    try:
        with lock.acquire(timeout=0):
            return False
    except filelock.Timeout:
        return True


def _cell_or_none(folder: Path) -> CellSpec | None:
    try:
        return read_cell(folder / CELL_FILE)
    except (UserError, OSError):
        return None


def _cell_folders(runs: Path) -> Iterator[Path]:
    for folder in sorted(runs.iterdir()):
        if (folder / RECORD_FILE).is_file() or (folder / CELL_FILE).is_file():
            yield folder


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
