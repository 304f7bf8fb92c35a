"""Measurements that need steps of their own, on a learner that is discarded afterwards."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.measure import clock, flops, race
from bench.measure.allocator import allocated_bytes
from bench.measure.memory import LiveBytes, live_bytes, storage_bytes, tensors_of
from bench.measure.noise import quietest
from bench.measure.operations import Operations
from bench.methods import Learner
from bench.records import Relative

Heartbeat = Callable[[], object]
"""Called again and again while something is measured: a sign of life."""
SEGMENTS, FEWEST_SEGMENTS = 5, 3
SEGMENT_SECONDS = 0.05
"""Segments in which predictions are timed; where a single prediction takes longer than two of them, the fewest do."""
MOST_EPOCHS = 25
"""Most epochs that are probed for the phases of training."""


@dataclass(frozen=True)
class TrainingProbe:
    """Speed, memory and work of training; see the fields of the same name in ``bench.records.TrainingRecord``."""

    images_per_second_compute: float
    peak_live_bytes: int
    peak_allocated_bytes: int | None
    live_parameter_bytes: int
    live_gradient_bytes: int
    live_optimiser_bytes: int
    parameter_bytes: int
    state_bytes: int
    parameters: int
    flops_per_image: float
    operations_per_step: int
    relative: Relative | None
    noisy: bool


@dataclass(frozen=True)
class Yardstick:
    """Two equal learners to compare a third one's speed with, and the name of their method."""

    method: str
    one: Learner
    other: Learner


@dataclass(frozen=True)
class PredictionProbe:
    """Speed, memory and work of predicting; see the fields of the same name in ``bench.records.StrategyRecord``."""

    images_per_second: float
    peak_live_bytes: int
    peak_allocated_bytes: int | None
    parameters: int
    parameter_bytes: int
    flops_per_image: float
    weights: tuple[tuple[int, ...], ...]
    noisy: bool


def training(
    learner: Learner,
    images: Tensor,
    labels: Tensor,
    yardstick: Yardstick | None = None,
    beat: Heartbeat = lambda: None,
    *,
    timed: Learner | None = None,
    epochs: int = 1,
    rough: bool = False,
) -> TrainingProbe:
    """Measure training steps on one cached batch, images (B, C, H, W) and labels (B,); changes the learner.

    The first steps create optimiser state and caches and show the phases of training. Then a step of each phase is
    counted, others are watched for memory, and the rest, of the first phase, are timed, in turns with the yardstick's
    if there is one. Work is the mean over the epochs, memory and operations those of the phase that needs most. With
    ``rough``, a single step is timed, without a yardstick, and said to be noisy. Of a compiled learner, which counters
    cannot look into, an equal one that is not compiled is counted, and the compiled one is ``timed``.
    """

    def step() -> Any:
        return learner.train_step(images, labels)

    phases = _phases(learner, step, epochs)
    shares, operations = [], 0
    for first, share in phases:
        learner.begin_epoch(first)
        with Operations() as dispatched:
            shares.append(share * flops.count(step))
        operations = max(operations, dispatched.total)
    work = sum(shares)
    live, allocated = _memory(learner, step, phases, images, labels)
    learner.begin_epoch(0)
    yardstick = None if rough else yardstick
    rivals = _rivals(yardstick, images, labels)
    raced = step if timed is None else _step(timed, images, labels)
    run = race.once(raced, images.device) if rough else race.run([raced, *rivals], images.device, beat=beat)
    parameters = list(learner.parameters())
    return TrainingProbe(
        images_per_second_compute=len(images) * run.rate(0),
        peak_live_bytes=live.peak,
        peak_allocated_bytes=allocated,
        live_parameter_bytes=live.owned["parameters"],
        live_gradient_bytes=live.owned["gradients"],
        live_optimiser_bytes=live.owned["optimiser"],
        parameter_bytes=storage_bytes(parameters),
        state_bytes=storage_bytes(tensors_of(learner.state_dict())),
        parameters=sum(parameter.numel() for parameter in parameters),
        flops_per_image=work / len(images),
        operations_per_step=operations,
        relative=None if yardstick is None else _relative(yardstick.method, run),
        noisy=run.noisy,
    )


def memory(learner: Learner, images: Tensor, labels: Tensor, *, epochs: int = 1) -> tuple[LiveBytes, int | None]:
    """Only the memory of training steps: live bytes, and peak allocated bytes; arguments as for ``training``."""

    def step() -> Any:
        return learner.train_step(images, labels)

    return _memory(learner, step, _phases(learner, step, epochs), images, labels)


def _memory(
    learner: Learner, step: Callable[[], Any], phases: list[tuple[int, float]], images: Tensor, labels: Tensor
) -> tuple[LiveBytes, int | None]:
    """Live and peak allocated bytes of a step, each of the phase that needs most."""
    parameters = list(learner.parameters())

    def held() -> Iterator[Tensor]:
        return itertools.chain(parameters, _gradients(parameters), tensors_of(learner.state_dict()), (images, labels))

    def owners() -> Mapping[str, list[Tensor]]:
        known = {tensor.untyped_storage()._cdata for tensor in parameters}  # noqa: SLF001
        others = [t for t in tensors_of(learner.state_dict()) if t.untyped_storage()._cdata not in known]  # noqa: SLF001
        return {"parameters": parameters, "gradients": list(_gradients(parameters)), "optimiser": others}

    lives, allocated = [], []
    for first, _ in phases:
        learner.begin_epoch(first)
        lives.append(live_bytes(step, held(), owners))
        size = allocated_bytes(step, images.device, held, lives[-1].found)
        allocated += [] if size is None else [size]
    return max(lives, key=lambda each: each.peak), max(allocated, default=None)


def _phases(learner: Learner, step: Callable[[], Mapping[str, Tensor]], epochs: int) -> list[tuple[int, float]]:
    """The first epoch of each phase and its share of training; phases train different parts, at different cost.

    A phase is identified by the names of its losses. Of a long training, evenly spaced epochs are probed.
    """
    looked_at = sorted({place * (epochs - 1) // max(1, MOST_EPOCHS - 1) for place in range(MOST_EPOCHS)})
    by_losses: dict[frozenset[str], list[int]] = {}
    for epoch in looked_at:
        learner.begin_epoch(epoch)
        by_losses.setdefault(frozenset(step()), []).append(epoch)
    return [(found[0], len(found) / len(looked_at)) for found in by_losses.values()]


def _rivals(yardstick: Yardstick | None, images: Tensor, labels: Tensor) -> list[Callable[[], Any]]:
    """The steps of the yardstick's two learners, each run once."""
    return [] if yardstick is None else [_step(each, images, labels) for each in (yardstick.one, yardstick.other)]


def _step(learner: Learner, images: Tensor, labels: Tensor) -> Callable[[], Any]:
    """The step of a learner that has taken one."""
    learner.begin_epoch(0)
    learner.train_step(images, labels)
    return lambda: learner.train_step(images, labels)


def _relative(method: str, run: race.Race) -> Relative:
    ratio, ratio_iqr = run.ratio(0, 1)
    same, same_iqr = run.ratio(2, 1)
    return Relative(
        yardstick=method,
        ratio=ratio,
        ratio_iqr=ratio_iqr,
        same=same,
        same_iqr=same_iqr,
        rounds=len(run.rates[0]),
        noisy=run.noisy,
    )


def prediction(
    learner: Learner, strategy: str, images: Tensor, beat: Heartbeat = lambda: None, *, rough: bool = False
) -> PredictionProbe:
    """Measure one strategy's prediction of one cached batch, images (B, C, H, W); changes nothing.

    With ``rough``, a single one is timed, and said to be noisy.
    """

    def predict() -> Tensor:
        return learner.predict(images, strategy)

    work = flops.count(predict)
    parameters = list(learner.parameters(strategy))
    live, allocated = prediction_memory(learner, strategy, images)
    beat()
    if rough:
        rate, noisy = len(images) * race.once(predict, images.device).rate(0), True
    else:
        rate, noisy = _images_per_second(predict, len(images), images.device, beat)
    return PredictionProbe(
        images_per_second=rate,
        peak_live_bytes=live,
        peak_allocated_bytes=allocated,
        parameters=sum(parameter.numel() for parameter in parameters),
        parameter_bytes=storage_bytes(parameters),
        flops_per_image=work / len(images),
        weights=tuple(tuple(parameter.shape) for parameter in parameters if parameter.dim() > 1),
        noisy=noisy,
    )


def prediction_memory(learner: Learner, strategy: str, images: Tensor) -> tuple[int, int | None]:
    """Only the memory of one strategy's prediction: peak live and peak allocated bytes."""
    held = [*learner.parameters(strategy), images]

    def predict() -> Tensor:
        return learner.predict(images, strategy)

    live = live_bytes(predict, held)
    return live.peak, allocated_bytes(predict, images.device, lambda: held, live.found, replaces=False)


def _images_per_second(run: Callable[[], Any], batch: int, device: torch.device, beat: Heartbeat) -> tuple[float, bool]:
    """Median rate over a few segments of several runs each, and whether most of them were disturbed."""
    start = clock.now(device)
    run()
    once = max(1e-6, clock.now(device) - start)
    repeats = max(1, round(SEGMENT_SECONDS / once))
    count = FEWEST_SEGMENTS if once > 2 * SEGMENT_SECONDS else SEGMENTS

    def rate() -> float:
        beat()
        start = clock.now(device)
        for _ in range(repeats):
            run()
        return batch * repeats / (clock.now(device) - start)

    segments = [quietest(rate) for _ in range(count)]
    disturbed = sum(noise.noisy for _, noise in segments)
    return statistics.median(rate for rate, _ in segments), disturbed > count / 2


def _gradients(parameters: list[Tensor]) -> Iterator[Tensor]:
    """The gradients that exist, one by one, so that a step can free them."""
    return (parameter.grad for parameter in parameters if parameter.grad is not None)
