"""What came out: the record of a cell, and its parts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bench.records.cells import CellSpec, Model

SCHEMA = 1

Status = Literal["ok", "diverged", "failed", "timeout", "interrupted"]
FINISHED: tuple[Status, ...] = ("ok", "diverged")
"""A cell with one of these has nothing to gain from another try."""


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
    layer_means: dict[str, list[float]] = Field(default_factory=dict)
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
    inputs: dict[str, str] = Field(default_factory=dict)
    nondeterministic: list[str] = Field(default_factory=list)
    layer_values: dict[str, list[list[float]]] = Field(default_factory=dict)
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
