"""Mono-Forward: a learned projection of a layer's activations classifies (Gong, Li, Abdulla, arXiv 2501.09238).

    layer l:  a_l = ReLU(W_l x_{l-1})        x_{l-1} is detached; a convolution, or linear after the convolutions
              G_l = M_l vec(a_l)             M_l (N x D) learned, without a bias
              L_l = CE(G_l, label)           trains W_l and M_l, and nothing else
              x_l = a_l, pooled where the plan says so

So it is ASGE with a learned projection, of activations instead of the energy of patches, and without a normalisation.
Predictions:

    last       G_L
    goodness   G_l, summed over all layers

The paper's abstract, its mathematics and summaries of it were read, not its text: its networks and its first weights
are not known. Shapes: B images, C channels, H x W pixels, D values of a layer for one image, N classes, L layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge
from torch import Tensor, nn

from asge.common.optimisers import (
    LearningRate,
    Momentum,
    OptimiserSetting,
    ScheduledOptimiser,
    ScheduleSetting,
    WeightDecay,
    optimiser_in_words,
)
from asge.common.settings import settings_class
from asge.common.types import Examination, TaskShape, TrainingBudget
from asge.layers.pooling import Pooling, pool2d
from asge.network import parse_plan


@settings_class
class MonoForwardSettings:
    """Settings of Mono-Forward.

    Attributes:
        plan: of the convolutions, see ``asge.network.parse_plan``.
        hidden: widths of linear layers after them.
        pooling: between the convolutions, see ``asge.pooling.pool2d``.
        optimiser, learning_rate, weight_decay, momentum, schedule: see ``asge.common.optimisers``; momentum is SGD's.
    """

    plan: str = "16,M,32,M,64,M,128"
    hidden: tuple[Annotated[int, Ge(1)], ...] = ()
    pooling: Pooling = "max"
    optimiser: OptimiserSetting = "adam"
    learning_rate: LearningRate = 1e-3
    weight_decay: WeightDecay = 0.0
    momentum: Momentum = 0.9
    schedule: ScheduleSetting = "one-cycle"


class ProjectedLayer(nn.Module):
    """A layer and its projection M.

    Args:
        layer: a convolution or a linear layer.
        values: D of its output.
        classes: N.
        pool: side of the pooling window after it; 1 for none.
        pooling: kind of pooling.
        generator: draws the first weights.
    """

    def __init__(
        self,
        layer: nn.Conv2d | nn.Linear,
        values: int,
        classes: int,
        *,
        pool: int = 1,
        pooling: Pooling = "max",
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.layer = layer
        self.layer.bias = nn.Parameter(torch.zeros(len(layer.weight)))
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        self.projection = nn.Linear(values, classes, bias=False)
        nn.init.kaiming_uniform_(self.projection.weight, a=math.sqrt(5), generator=generator)
        self._pool, self._pooling = pool, pooling

    def activate(self, x: Tensor) -> Tensor:
        """a: (B, C, H, W) -> (B, C', H', W'), or (B, D) -> (B, D')."""
        x = x if self.layer.weight.dim() == 4 else x.flatten(1)
        return F.relu(self.layer(x), inplace=True)

    def goodness(self, a: Tensor) -> Tensor:
        """G, (B, N), from a."""
        goodness: Tensor = self.projection(a.flatten(1))
        return goodness

    def propagate(self, a: Tensor) -> Tensor:
        """The next layer's x from a."""
        return pool2d(a, self._pool, self._pooling) if self._pool > 1 else a


class MonoForwardLearner:
    """Trains a network layer by layer within one forward pass, each layer by its own projection."""

    strategies = ("last", "goodness")

    def __init__(
        self,
        task: TaskShape,
        settings: MonoForwardSettings,
        budget: TrainingBudget,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        made = []
        values = 0
        for each in parse_plan(settings.plan, task.shape):
            conv = nn.Conv2d(each.in_channels, each.channels, kernel_size=3, padding=1, stride=each.stride)
            values, pooling = each.channels * each.height * each.width, settings.pooling
            made.append(
                ProjectedLayer(conv, values, task.classes, pool=each.pool, pooling=pooling, generator=generator)
            )
            values = math.prod(each.output)
        for units in settings.hidden:
            made.append(ProjectedLayer(nn.Linear(values, units), units, task.classes, generator=generator))
            values = units
        self.layers: list[ProjectedLayer] = made
        self._modules = nn.ModuleList(made).to(device).to(memory_format=torch.channels_last)
        self.on_layer: Callable[[], None] | None = None
        steps = budget.epochs * budget.steps_per_epoch
        self._optimisers = [ScheduledOptimiser(layer.parameters(), settings, steps) for layer in made]

    def begin_epoch(self, epoch: int) -> None:
        """Nothing to do: the schedules count steps."""

    def train_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One step of every layer on images (B, C, H, W) float and labels (B,) int64.

        Returns:
            Detached scalar losses ``layer1`` .. ``layerL``.
        """
        losses: dict[str, Tensor] = {}
        x = images.contiguous(memory_format=torch.channels_last)
        for index, (layer, optimiser) in enumerate(zip(self.layers, self._optimisers, strict=True)):
            a = layer.activate(x)
            loss = F.cross_entropy(layer.goodness(a), labels)
            loss.backward()
            losses[f"layer{index + 1}"] = loss.detach()
            x = layer.propagate(a.detach())
            del a, loss  # free them before the next layer runs
            optimiser.step()
            optimiser.zero_grad()
            if self.on_layer is not None:
                self.on_layer()
        return losses

    def finish(self, validation: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Nothing to choose."""

    @torch.no_grad()
    def predict(self, images: Tensor, strategy: str) -> Tensor:
        """Logits (B, N): G of the last layer (`last`), or the sum over all layers (`goodness`)."""
        if strategy not in self.strategies:
            raise ValueError(f"strategy must be one of {', '.join(self.strategies)}, got {strategy!r}")
        if strategy == "goodness":
            return torch.stack(self.layer_logits(images)).sum(0)
        for a in self._activations(images):
            last = a
        return self.layers[-1].goodness(last)

    @torch.no_grad()
    def layer_logits(self, images: Tensor) -> list[Tensor]:
        """G of every layer, (B, N) each."""
        return [layer.goodness(a) for layer, a in zip(self.layers, self._activations(images), strict=True)]

    @torch.no_grad()
    def examine(self, images: Tensor) -> Examination:
        """Results of ``predict`` and ``layer_logits`` from a single forward pass."""
        layers = self.layer_logits(images)
        return Examination({"last": layers[-1], "goodness": torch.stack(layers).sum(0)}, layers, [])

    def parameters(self, strategy: str | None = None) -> Iterator[Tensor]:
        """The tensors that a strategy predicts with; without a strategy, all of them."""
        for layer in self.layers:
            yield from layer.parameters() if strategy != "last" else layer.layer.parameters()
        if strategy == "last":
            yield from self.layers[-1].projection.parameters()

    def state_dict(self) -> dict[str, Any]:
        """Layers, projections, optimisers and schedules."""
        return {
            "modules": self._modules.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a ``state_dict``."""
        self._modules.load_state_dict(state["modules"])
        for optimiser, kept in zip(self._optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)

    def _activations(self, images: Tensor) -> Iterator[Tensor]:
        """The a of every layer, one at a time."""
        x = images.contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            a = layer.activate(x)
            yield a
            x = layer.propagate(a)


class MonoForward:
    """The method as the harness registers it."""

    Settings: ClassVar[type[MonoForwardSettings]] = MonoForwardSettings
    strategies: ClassVar[tuple[str, ...]] = MonoForwardLearner.strategies
    build: ClassVar[type[MonoForwardLearner]] = MonoForwardLearner
    small: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"plan": "8,M,16"},
        {"plan": "8s,16", "hidden": [12], "pooling": "avg", "optimiser": "sgd", "learning_rate": 1e-2},
    )
    optimiser = staticmethod(optimiser_in_words)

    @staticmethod
    def between(settings: Mapping[str, Any]) -> str:
        """Describe, in words, the layers between the convolutions."""
        return f"ReLU, {settings.get('pooling')} pooling"
