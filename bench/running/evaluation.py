"""Accuracy of a learner over a whole loader, by strategy and by layer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from asge.common.types import Examination
from bench.data.loaders import Loader
from bench.methods import Examinable, Goodness, Learner, PerLayer

PROGRESS_SECONDS = 0.5
"""Minimum seconds between two progress reports."""
TOP = 5
FEW_CLASSES = 10
"""With so few classes, nobody reports the accuracy among the ``TOP`` most likely ones."""

Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Evaluation:
    """Accuracies in per cent by strategy and by layer, and the layers' mean goodness.

    Attributes:
        strategies: accuracies by name.
        layers: accuracies, first to last; None for a learner whose layers do not predict.
        goodness: means over all samples, first to last; None for a learner that has none.
    """

    strategies: dict[str, float]
    layers: list[float] | None
    goodness: list[float] | None


@torch.no_grad()
def evaluate(learner: Learner, loader: Loader, progress: Progress) -> Evaluation:
    """Evaluate strategies, layers and goodness in one pass over the loader, with ``examine`` if the learner has it."""
    correct = dict.fromkeys(learner.strategies, 0)
    correct_by_layer: list[int] = []
    goodness: list[float] = []
    beat = _Heartbeat(progress)
    for images, labels in loader.epoch(0):
        seen = learner.examine(images) if isinstance(learner, Examinable) else _examined(learner, images)
        for strategy, logits in seen.strategies.items():
            correct[strategy] += _hits(logits, labels)
        correct_by_layer = _added(correct_by_layer, [_hits(logits, labels) for logits in seen.layers])
        goodness = _added(goodness, [float(value) * len(images) for value in seen.goodness])
        beat()
    return Evaluation(
        strategies={strategy: 100 * count / loader.samples for strategy, count in correct.items()},
        layers=[100 * count / loader.samples for count in correct_by_layer] or None,
        goodness=[total / loader.samples for total in goodness] or None,
    )


class Accuracy(NamedTuple):
    """Shares of images in per cent whose label has the largest logit, and one of the ``TOP`` largest.

    The second is None for tasks with so few classes that nobody reports it.
    """

    top1: float
    top5: float | None


@torch.no_grad()
def accuracies(learner: Learner, strategies: Iterable[str], loader: Loader, progress: Progress) -> dict[str, Accuracy]:
    """Accuracies over all of a loader's samples, by strategy: all together by ``examine``, if it is there."""
    correct = {strategy: [0, 0] for strategy in strategies}
    together = isinstance(learner, Examinable) and set(correct) == set(learner.strategies)
    beat = _Heartbeat(progress)
    classes = 0
    for images, labels in loader.epoch(0):
        seen = learner.examine(images).strategies if isinstance(learner, Examinable) and together else {}
        for strategy, counts in correct.items():
            logits = seen[strategy] if together else learner.predict(images, strategy)
            classes = logits.shape[1]
            counts[0] += _hits(logits, labels)
            counts[1] += _hits_among(logits, labels, TOP) if classes > FEW_CLASSES else 0
        beat()

    def share(count: int) -> float:
        return 100 * count / loader.samples

    return {
        strategy: Accuracy(share(first), share(among) if classes > FEW_CLASSES else None)
        for strategy, (first, among) in correct.items()
    }


def _examined(learner: Learner, images: Tensor) -> Examination:
    return Examination(
        strategies={strategy: learner.predict(images, strategy) for strategy in learner.strategies},
        layers=learner.layer_logits(images) if isinstance(learner, PerLayer) else [],
        goodness=learner.layer_goodness(images) if isinstance(learner, Goodness) else [],
    )


def _hits(logits: Tensor, labels: Tensor) -> int:
    return int((logits.argmax(1) == labels).sum())


def _hits_among(logits: Tensor, labels: Tensor, count: int) -> int:
    return int((logits.topk(count, dim=1).indices == labels[:, None]).sum())


def _added(totals: list[Any], values: list[Any]) -> list[Any]:
    return [a + b for a, b in zip(totals, values, strict=True)] if totals else values


class _Heartbeat:
    """Tells of progress now and then."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._reported = time.perf_counter()

    def __call__(self) -> None:
        if time.perf_counter() - self._reported > PROGRESS_SECONDS:
            self._reported = time.perf_counter()
            self._progress({"event": "evaluate"})
