"""Small versions of methods: how checks build their learners, and the data that they train on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from bench import methods, registry
from bench.measure.determinism import deterministic
from bench.measure.environment import threads
from bench.measure.precision import computing
from bench.methods import Learner, settings
from bench.records.cells import Precision

EPOCHS, STEPS, BATCH, LAST_BATCH = 2, 4, 16, 5
SHAPE, CLASSES = (1, 8, 8), 10
CPU = torch.device("cpu")


@dataclass(frozen=True)
class SmallMethod:
    """A registered method with settings that make it small.

    Attributes:
        name: as registered.
        settings: those that differ from the defaults.
        device: the device it trains on.
        precision: of its arithmetic.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    device: torch.device = CPU
    precision: Precision = "float32"

    @property
    def variant(self) -> str:
        """The settings as ``key=value``."""
        values = [f"{key}={value}" for key, value in self.settings.items()]
        where = [] if self.device.type == "cpu" else [f"on {self.device}"]
        where += [] if self.precision == "float32" else [f"in {self.precision}"]
        return ", ".join([*values, *where])

    @contextlib.contextmanager
    def surroundings(self) -> Iterator[None]:
        """Deterministic algorithms, as in every training, and one thread: more would wait for one another."""
        with deterministic(self.device), computing(self.precision, self.device), threads(1):
            yield

    def build(self, seed: int = 0) -> tuple[Learner, torch.Generator]:
        """A learner before its first step, and the generator that everything random in it comes from."""
        generator = torch.Generator().manual_seed(seed)
        task = SimpleNamespace(shape=SHAPE, classes=CLASSES)
        budget = SimpleNamespace(epochs=EPOCHS, steps_per_epoch=STEPS)
        made = settings.make(self.name, settings.canonical(self.name, self.settings))
        return methods.get(self.name).build(task, made, budget, self.device, generator), generator

    def learner(self, seed: int = 0) -> Learner:
        """A learner before its first step."""
        return self.build(seed)[0]


def variants(name: str, device: torch.device = CPU, precision: Precision = "float32") -> list[SmallMethod]:
    """A method with each of the settings in its ``small``, or with its defaults if it has none."""
    method = registry.load(methods.GROUP, "method", name)
    small: Sequence[Mapping[str, Any]] = getattr(method, "small", ({},))
    return [SmallMethod(name, values, device, precision) for values in small]


def batches(epoch: int, learner: Learner) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch of batches, the last of them smaller: the same whatever the device, on the learner's."""
    device = next(iter(learner.parameters())).device
    generator = torch.Generator().manual_seed(100 + epoch)
    for step in range(STEPS):
        count = BATCH if step < STEPS - 1 else LAST_BATCH
        labels = torch.randint(CLASSES, (count,), generator=generator)
        images = torch.randn(count, *SHAPE, generator=generator) + labels.view(-1, 1, 1, 1) / 5
        yield images.to(device), labels.to(device)


def batch(learner: Learner, epoch: int = 0) -> tuple[Tensor, Tensor]:
    """The first batch of an epoch."""
    return next(batches(epoch, learner))


def validation(learner: Learner) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches that no epoch trains on."""
    return batches(9, learner)


def train(learner: Learner, epochs: Iterable[int]) -> None:
    """Train as the harness does."""
    for epoch in epochs:
        learner.begin_epoch(epoch)
        for images, labels in batches(epoch, learner):
            learner.train_step(images, labels)
        learner.finish(validation(learner))


def output(learner: Learner, strategy: str) -> Tensor:
    """Logits by a strategy, of images that no epoch trains on."""
    images, _ = batch(learner, 5)
    return learner.predict(images, strategy)


def outputs(learner: Learner) -> dict[str, Tensor]:
    """Logits by every strategy, of images that no epoch trains on."""
    return {strategy: output(learner, strategy) for strategy in learner.strategies}
