"""Backprop: one loss at the end of a network, one gradient through all of it.

On ASGE's topology, the default, the network has ASGE's convolutions, pooling and LayerNorm, and the classifier of its
strategy `last`: with equal plan and pooling nothing else differs than the loss and the gradient. Other networks are VGG
with batch normalisation, and whatever timm has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asge.optim import LearningRate, Momentum, OptimiserName, ScheduledOptimiser, ScheduleName, WeightDecay
from asge.pooling import Pooling
from asge.types import TaskShape, TrainingBudget
from baselines.stack import Hidden, Stack, Topology, is_vgg8b
from baselines.timm_models import timm_model
from baselines.vgg import Activation, Dropout


@dataclass(frozen=True, kw_only=True)
class BackpropSettings:
    """Settings of backprop.

    Attributes:
        model: "stack", made of the settings below, or "timm:NAME", any model of timm, see ``baselines.timm_models``.
        topology, plan, hidden, pooling, activation, dropout: of a stack, see ``baselines.stack``.
        accumulate: parts into which a batch is cut, one after the other; their gradients are added up. The step is the
            same, its memory is not; with batch normalisation, whose statistics are then a part's, it is another.
        optimiser, learning_rate, weight_decay, momentum, schedule: see ``asge.optim``; momentum is SGD's.
    """

    model: str = "stack"
    topology: Topology = "asge"
    plan: str = "small"
    hidden: Hidden = ()
    pooling: Pooling = "rms"
    activation: Activation = "relu"
    dropout: Dropout = 0.0
    accumulate: Annotated[int, Ge(1)] = 1
    optimiser: OptimiserName = "adamw"
    learning_rate: LearningRate = 3e-3
    weight_decay: WeightDecay = 1e-4
    momentum: Momentum = 0.9
    schedule: ScheduleName = "one-cycle"


def build_network(task: TaskShape, settings: BackpropSettings, generator: torch.Generator) -> nn.Module:
    """The network of some settings for a task, on the CPU, from images (B, C, H, W) to logits (B, N).

    Raises:
        ValueError: where settings and task do not go together.
    """
    if settings.model == "stack":
        return Stack(task.shape, task.classes, settings, pooled=settings.topology == "asge", generator=generator)
    library, _, name = settings.model.partition(":")
    if library != "timm" or not name:
        raise ValueError(f"model must be 'stack' or a name such as 'timm:resnet18', got {settings.model!r}")
    return timm_model(name, task.shape, task.classes, generator=generator)


class BackpropLearner:
    """A network in end-to-end training with cross-entropy."""

    strategies = ("logits",)

    def __init__(
        self,
        task: TaskShape,
        settings: BackpropSettings,
        budget: TrainingBudget,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        self.network = build_network(task, settings, generator)
        self._parts = settings.accumulate
        self.network.to(device).to(memory_format=torch.channels_last)
        self._optimiser = ScheduledOptimiser(
            self.network.parameters(), settings, total_steps=budget.epochs * budget.steps_per_epoch
        )

    def begin_epoch(self, epoch: int) -> None:
        """Nothing to do: the schedule counts steps."""

    def train_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One step of backprop on images (B, C, H, W) float and labels (B,) int64."""
        self.network.train()
        self._optimiser.zero_grad()
        images = images.contiguous(memory_format=torch.channels_last)
        total = torch.zeros((), device=images.device)
        for part, of_part in zip(images.chunk(self._parts), labels.chunk(self._parts), strict=True):
            loss = F.cross_entropy(self.network(part), of_part, reduction="sum") / len(labels)
            loss.backward()
            total += loss.detach()
        self._optimiser.step()
        return {"loss": total}

    def finish(self, validation: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Nothing to choose."""

    @torch.no_grad()
    def predict(self, images: Tensor, strategy: str) -> Tensor:
        """Logits (B, N); the only strategy is `logits`."""
        if strategy != "logits":
            raise ValueError(f"strategy must be logits, got {strategy!r}")
        self.network.eval()
        logits: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return logits

    def parameters(self, strategy: str | None = None) -> Iterator[Tensor]:  # noqa: ARG002
        """All tensors; the one strategy needs every one of them."""
        return self.network.parameters()

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser and schedule."""
        return {"network": self.network.state_dict(), "optimiser": self._optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken."""
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])


class Backprop:
    """The method as the harness finds it."""

    Settings: ClassVar[type[BackpropSettings]] = BackpropSettings
    strategies: ClassVar[tuple[str, ...]] = BackpropLearner.strategies
    build: ClassVar[type[BackpropLearner]] = BackpropLearner

    @staticmethod
    def published(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Rows of the published table that such a network is compared with."""
        if settings.get("model") == "timm:resnet18":
            return [("BP", "ResNet-18"), ("BP", "ResNet-18 augmented")]
        return [("BP", "VGG8b augmented")] if is_vgg8b(settings) else []
