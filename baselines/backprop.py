"""Backprop on ASGE's topology: the same convolutions, pooling and LayerNorm, trained end to end.

With equal plan and pooling the only differences from ASGE are the loss (one, at the end) and the gradient (through all
layers). The classifier is that of ASGE's strategy `last`: a linear layer on the globally pooled last activation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asge.block import ConvUnit
from asge.network import parse_plan
from asge.optim import LearningRate, Momentum, OptimiserName, ScheduledOptimiser, ScheduleName, WeightDecay
from asge.pooling import Pooling
from asge.types import TaskShape, TrainingBudget


@dataclass(frozen=True, kw_only=True)
class BackpropSettings:
    """Settings of backprop.

    Attributes:
        plan: channel plan, see ``asge.network.parse_plan``.
        pooling: see ``asge.pooling.pool2d``.
        accumulate: parts into which a batch is cut, one after the other; their gradients are added up. The step is the
            same, its memory is not.
        optimiser, learning_rate, weight_decay, momentum, schedule: see ``asge.optim``; momentum is SGD's.
    """

    plan: str = "small"
    pooling: Pooling = "rms"
    accumulate: Annotated[int, Ge(1)] = 1
    optimiser: OptimiserName = "adamw"
    learning_rate: LearningRate = 3e-3
    weight_decay: WeightDecay = 1e-4
    momentum: Momentum = 0.9
    schedule: ScheduleName = "one-cycle"


class BackpropNetwork(nn.Module):
    """ASGE's stack of convolution, ReLU, RMSPool and LayerNorm, with one classifier at its end."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        plan: str,
        *,
        pooling: Pooling = "rms",
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        layers = parse_plan(plan, shape)
        self.units = [
            ConvUnit(
                layer.in_channels, layer.channels, layer.pool, stride=layer.stride, pooling=pooling, generator=generator
            )
            for layer in layers
        ]
        self._units = nn.ModuleList(self.units)
        self.classifier = nn.Linear(layers[-1].channels, classes)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, N) for images (B, C, H, W)."""
        y = self.units[0].activate(images)
        for before, unit in zip(self.units, self.units[1:], strict=False):
            y = unit.activate(before.propagate(y))
        logits: Tensor = self.classifier(y.mean((2, 3)))
        return logits


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
        self.network = BackpropNetwork(
            task.shape, task.classes, settings.plan, pooling=settings.pooling, generator=generator
        )
        self._parts = settings.accumulate
        self.network.to(device).to(memory_format=torch.channels_last)
        self._optimiser = ScheduledOptimiser(
            self.network.parameters(), settings, total_steps=budget.epochs * budget.steps_per_epoch
        )

    def begin_epoch(self, epoch: int) -> None:
        """Nothing to do: the schedule counts steps."""

    def train_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One step of backprop on images (B, C, H, W) float and labels (B,) int64."""
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
