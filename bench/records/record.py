"""The record of a cell: its results, and their parts."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from bench.records.cells import CellSpec, Model

SCHEMA = 1

Status = Literal["ok", "diverged", "failed", "timeout", "interrupted"]
FINISHED: tuple[Status, ...] = ("ok", "diverged")
"""Statuses of cells for which another try would change nothing."""
OPEN = "open"
"""Name of the shares of images that open a gate, in ``Record.layer_values``; the same as ``asge.common.types.OPEN``."""


class Code(Model):
    """The code that ran.

    Attributes:
        fingerprint: hash of all source files of the three packages, so that uncommitted changes show.
        computation: hash of those that the cell's computation imports, its plug-ins' too, see
            ``bench.records.sources``; null in older records, and where there is no cell.
    """

    version: str
    commit: str | None
    dirty: bool | None
    fingerprint: str
    computation: str | None = None


class Environment(Model):
    """The machine and libraries of a run."""

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
    """Other load on the machine during a segment, in per cent of the segment; null where it cannot be read."""

    cpu_pressure: float | None
    steal: float | None
    noisy: bool


class EpochRecord(Model):
    """One epoch. Accuracies are per cent, on validation data.

    Attributes:
        seconds: of the training segment, without evaluation and a process's first batch.
        images: images trained on in that segment.
        layers: accuracy of each layer; null for a method whose layers do not predict.
        layer_goodness: mean goodness of each layer, over validation images.
        layer_seconds: of each layer's part of a training step, median of several steps on one cached batch; null in
            epochs that train no layer.
        layer_live_bytes: peak of live tensor bytes during each layer's part of a step; null likewise.
        layer_means: by name, the mean of each layer's values, see ``Record.layer_values``.
        peak_bytes, peak_reserved_bytes, energy_joules: of the segment, see ``TrainingRecord``; null if not measured or
            not measurable.
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
    layer_means: dict[str, list[float]] = Field(default_factory=dict)
    peak_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    energy_joules: float | None = None
    noise: Noise


class Relative(Model):
    """Speed of training steps relative to the yardstick's, on one cached batch, taking turns in one process.

    Attributes:
        yardstick: the method it is compared with.
        ratio, ratio_iqr: images per second relative to the yardstick's, median and interquartile range over the rounds.
        same, same_iqr: the same for a second copy of the yardstick: the ratio of equal learners on this machine.
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
        images_per_second: end to end, loader included; median over the epochs from the second on (or of the only one),
            with minimum and interquartile range.
        images_per_second_compute: on one cached batch, without a loader.
        peak_rss_bytes: peak resident size during the first epoch minus the size before it (CUDA: peak allocated);
            memory left behind by evaluation would count in later epochs.
        peak_reserved_bytes: CUDA only, peak reserved by the allocator.
        peak_live_bytes: peak of all tensor storages alive at once within one step, of the phase of training that needs
            most (layers may freeze, classifiers may come later).
        peak_allocated_bytes: the same with what operations allocate inside and free before they end, by the allocator's
            own events; null in older records.
        live_parameter_bytes, live_gradient_bytes, live_optimiser_bytes: parts of it by owner, after the step.
        operations_per_step: dispatched in a step, see ``bench.measure.operations``; null in older records.
        parameter_bytes, state_bytes: all trained parameters; everything in a checkpoint.
        energy_joules, energy_note: over training, from a hardware counter; else null and the reason.
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
    peak_allocated_bytes: int | None = None
    operations_per_step: int | None = None


class StrategyRecord(Model):
    """Results of one prediction strategy. Accuracies are per cent on test data.

    Attributes:
        accuracy: of the last epoch, the headline result.
        top5: the share of images whose label is among the five most likely, in the last epoch; null for tasks of ten
            classes or fewer, and in older records.
        best_validation_epoch, accuracy_at_best_validation: of the epoch with the best validation accuracy.
        samples: number of test images.
        peak_live_bytes, peak_allocated_bytes: of one batch's prediction, see ``TrainingRecord``.
        weights: shapes of the kernels and matrices used in prediction; null in older records.
        noisy: the speed measurement was disturbed each time.
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
    peak_allocated_bytes: int | None = None
    top5: float | None = None


class WorkRecord(Model):
    """Multiply-accumulate operations per test image, for methods whose work depends on the image.

    Attributes:
        macs, macs_deviation: mean and standard deviation over the images.
        macs_quantiles: at 0, 5, 25, 50, 75, 95 and 100 %.
        macs_by_class: mean over the images of each class; null for a class without images.
        macs_of_right, macs_of_wrong: mean over the correctly and the wrongly predicted images.
        layers: executed share of each layer, first to last, mean over the images.
        layers_by_class: the same for each class; empty for a class without images.
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
    """The result of one cell. ``training`` and ``strategies`` are present if the status is ok.

    Attributes:
        overrides: changes to the suite with which it ran, if they make its cell none of the suite's.
        opening_losses: of the first training steps, one by one, by name: any change to the computation changes them, a
            change of machine barely.
        inputs: digests of the first training, validation and test batch as the learner gets them, and of all labels.
        layer_values: by name, each layer's values after the last epoch, such as parameters of gates; one list per layer
            that has any.
        work: work of predicting test images, if it depends on the image.
        wall_seconds: of the process that wrote it: data, training, tests, measurements; null in older records.
        shared: whether other cells ran on its machine, or a queue gave it only a part of one: its speeds say little.
        nondeterministic: operations that ran without a deterministic implementation (CUDA only).
    """

    schema_version: Literal[1] = 1
    id: str
    cell: CellSpec
    suite: str
    overrides: dict[str, Any] = Field(default_factory=dict)
    status: Status
    error: str | None
    created: str
    code: Code
    environment: Environment
    epochs: list[EpochRecord]
    opening_losses: dict[str, list[float]]
    inputs: dict[str, str] = Field(default_factory=dict)
    nondeterministic: list[str] = Field(default_factory=list)
    layer_values: dict[str, list[list[float]]] = Field(default_factory=dict)
    work: WorkRecord | None = None
    wall_seconds: float | None = None
    shared: bool = False
    training: TrainingRecord | None
    strategies: list[StrategyRecord]

    @model_validator(mode="after")
    def _whole(self) -> Record:
        if self.id != self.cell.id:
            raise ValueError(f"id must be that of its cell, {self.cell.id}, got {self.id}")
        if self.status == "ok" and not (self.epochs and self.training and self.strategies):
            raise ValueError("status is ok, but epochs, training or strategies are missing")
        return self
