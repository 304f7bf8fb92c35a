"""Time and memory per layer of a training step, measured on a copy of the learner in training."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from bench.measure import clock
from bench.measure.memory import LiveStorages, tensors_of
from bench.methods import Inspectable, Learner, Observable

STEPS = 5
"""Timed steps per epoch; the value is their median."""


@dataclass(frozen=True)
class LayerCosts:
    """Seconds and peak live bytes of each layer's part of a step, first to last."""

    seconds: list[float]
    live_bytes: list[int]


def costs(learner: Learner, images: Tensor, labels: Tensor) -> LayerCosts | None:
    """Watch a few steps on one batch; changes the learner.

    None for a learner that does not report the ends of its layers, or whose layers have stopped learning.

    A layer's part ends at its ``on_layer`` call: what a step does after the last one belongs to no layer.
    """
    if not isinstance(learner, Observable):
        return None

    def step() -> None:
        learner.train_step(images, labels)

    try:
        times = []
        for _ in range(STEPS):
            marks = [clock.now(images.device)]
            learner.on_layer = lambda marks=marks: marks.append(clock.now(images.device))
            step()
            times.append([after - before for before, after in itertools.pairwise(marks)])
        if not times[-1]:  # its layers have stopped learning
            return None
        return LayerCosts(
            seconds=[statistics.median(layer) for layer in zip(*times, strict=True)],
            live_bytes=_live_bytes(learner, step, [*tensors_of(learner.state_dict()), images, labels]),
        )
    finally:
        learner.on_layer = None


def _live_bytes(learner: Observable, step: Callable[[], None], held: Iterable[Tensor]) -> list[int]:
    mode = LiveStorages()
    for tensor in held:
        mode.add(tensor)
    peaks: list[int] = []

    def mark() -> None:
        peaks.append(mode.peak)
        mode.peak = mode.live

    learner.on_layer = mark
    with mode:
        step()
    return peaks


def values(learner: Learner, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, list[list[float]]]:
    """The learner's ``layer_values`` as lists, layer by layer; empty for a learner without them."""
    if not isinstance(learner, Inspectable):
        return {}
    shown: Mapping[str, Sequence[Tensor]] = learner.layer_values(batches)
    return {name: [layer.detach().double().tolist() for layer in of_layers] for name, of_layers in shown.items()}


def means(by_layer: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, list[float]]:
    """The mean of each layer's values, by name."""
    return {name: [statistics.fmean(layer) for layer in of_layers] for name, of_layers in by_layer.items()}
