"""DeeperForward: FF with mean goodness and layer normalisation, for deep CNNs (Sun et al., ICLR 2025).

    layer l:  y_l = ReLU(Conv(x_{l-1}))                          x_{l-1} is detached; x_0 = LayerNorm(image)
              g_l = mean of y_l over the channels of group j and over space      N groups of C / N channels, one a class
              L_l = CE(g_l, label)                               no negative data
              x_l = GroupNorm_N(y_l), joined by a shortcut where the network has one

The goodness is a mean, not a sum of squares, and what is passed on is normalised in each group: it tells nothing of g.
Predictions add g over several layers:

    goodness   over all layers but the first
    pruned     over the consecutive layers that together were most accurate on validation data; later ones are not run

The layer, the network of 17 layers and the choice of layers are those of github.com/JNNNNYao/HCL-FF at 799349b, which
says that it is built on DeeperForward's own code; that code was not seen. Shapes: B images, C channels, H x W pixels,
N classes, L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge, Gt
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
from asge.common.tensors import wide
from asge.common.types import Examination, Neutral, TaskShape, TrainingBudget, refuse_without_effect
from asge.layers.pooling import Pooling, pool2d
from asge.network import parse_plan

RESNET = "resnet17"


@settings_class
class DeeperForwardSettings:
    """Settings of DeeperForward.

    Attributes:
        plan: see ``asge.network.parse_plan``, with numbers of channels that are multiples of the number of classes; or
            "resnet17", the published network.
        width: channels of the first stage of resnet17, which has four, each twice as wide as the one before.
        pooling: between the convolutions of a plan, see ``asge.pooling.pool2d``.
        clip_norm: largest norm of a layer's gradient, which is else scaled down to it.
        optimiser, learning_rate, weight_decay, momentum, schedule: see ``asge.common.optimisers``; momentum is SGD's.
        min_learning_rate: the rate where the schedule is at 0; it changes with every epoch.
    """

    plan: str = "20,M,40,M,80,M,160"
    width: Annotated[int, Ge(1)] = 100
    pooling: Pooling = "max"
    clip_norm: Annotated[float, Gt(0)] = 1.0
    optimiser: OptimiserSetting = "adamw"
    learning_rate: LearningRate = 2e-2
    weight_decay: WeightDecay = 1e-4
    momentum: Momentum = 0.9
    schedule: ScheduleSetting = "cosine"
    min_learning_rate: Annotated[float, Ge(0), Neutral(0.0)] = 0.0


class Place(NamedTuple):
    """A layer's place in the network.

    Attributes:
        channels, stride: of its convolution.
        pool: side of the pooling window after it; 1 for none.
        shortcut: how the kept map joins its output: not, as a sum, or as further channels of each group.
        keeps: whether its output, so joined, is kept for a later layer.
        halves: whether it is kept at half the size.
    """

    channels: int
    stride: int = 1
    pool: int = 1
    shortcut: Literal["none", "sum", "channels"] = "none"
    keeps: bool = False
    halves: bool = False


def resnet17(width: int) -> list[Place]:
    """The published network: a first layer, and four stages of two residual blocks of two layers."""
    places = [Place(width, keeps=True)]
    for stage in range(4):
        channels = width * 2**stage
        strided = stage in (1, 2)
        last = stage == 3
        places += [
            Place(channels, stride=2 if strided else 1),
            Place(channels, shortcut="sum", keeps=True),
            Place(channels),
            Place(channels, shortcut="sum" if last else "channels", keeps=True, halves=stage in (0, 1)),
        ]
    return places


class ClassWiseLayer(nn.Module):
    """Convolution and ReLU, whose channels are groups, one per class.

    Args:
        in_channels, out_channels, stride: of the 3x3 convolution (padding 1, no bias).
        classes: N, of which ``out_channels`` is a multiple.
        generator: draws the first weights.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, classes: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.classes = classes
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu", generator=generator)

    def activate(self, x: Tensor) -> Tensor:
        """y: (B, C, H, W) -> (B, C', H', W')."""
        return F.relu(self.conv(x), inplace=True)

    def goodness(self, y: Tensor) -> Tensor:
        """g: (B, C', H', W') -> (B, N)."""
        goodness: Tensor = y.mean((2, 3), dtype=wide(y)).unflatten(1, (self.classes, -1)).mean(2)
        return goodness

    def normalize(self, y: Tensor) -> Tensor:
        """GroupNorm with a group per class: (B, C', H', W') -> the same."""
        return F.group_norm(y, self.classes)


class DeeperForwardLearner:
    """Trains a network layer by layer within one forward pass, each layer by the goodness of its groups.

    Attributes:
        run: indices of the first and the last layer whose goodness `pruned` adds.
    """

    strategies: tuple[str, ...] = ("goodness", "pruned")

    def __init__(
        self,
        task: TaskShape,
        settings: DeeperForwardSettings,
        budget: TrainingBudget,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        self.classes = task.classes
        self._settings = settings
        self.places = _places(settings, task)
        self.layers: list[ClassWiseLayer] = []
        channels = task.shape[0]
        for place in self.places:
            if place.channels % task.classes:
                raise ValueError(f"channels must be multiples of the {task.classes} classes, got {place.channels}")
            self.layers.append(
                ClassWiseLayer(channels, place.channels, stride=place.stride, classes=task.classes, generator=generator)
            )
            channels = place.channels * (2 if place.shortcut == "channels" else 1)
        self.channels = channels
        self.run = (min(1, len(self.layers) - 1), len(self.layers) - 1)
        self.on_layer: Callable[[], None] | None = None
        self.modules = nn.ModuleList([*self.layers, *self._further_modules(generator)])
        self.modules.to(device).to(memory_format=torch.channels_last)
        steps, hold = budget.epochs * budget.steps_per_epoch, budget.steps_per_epoch
        self._optimisers = [
            ScheduledOptimiser(parameters, own, steps, hold=hold, min_rate=own.min_learning_rate)
            for parameters, own in self._trained()
        ]

    def _further_modules(self, generator: torch.Generator) -> list[nn.Module]:  # noqa: ARG002
        """Trained modules beside the layers."""
        return []

    def _trained(self) -> list[tuple[list[Tensor], DeeperForwardSettings]]:
        """The parameters of each optimiser, with its settings."""
        return [([*self.modules.parameters()], self._settings)]

    def begin_epoch(self, epoch: int) -> None:
        """Nothing to do: the schedule counts steps."""

    def train_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One step of every layer on images (B, C, H, W) float and labels (B,) int64.

        Returns:
            Detached scalar losses ``layer1`` .. ``layerL``.
        """
        self.modules.train()
        for optimiser in self._optimisers:
            optimiser.zero_grad()
        losses: dict[str, Tensor] = {}
        x, kept = self._input(images), None
        for index, layer in enumerate(self.layers):
            y = layer.activate(x)
            loss, normal = self._loss(index, y, labels)
            loss.backward()
            nn.utils.clip_grad_norm_(layer.parameters(), self._settings.clip_norm)
            losses[f"layer{index + 1}"] = loss.detach()
            x, kept = self._join(index, normal.detach(), kept)
            del y, normal, loss  # free them before the next layer runs
            if self.on_layer is not None:
                self.on_layer()
        losses |= self._train_head(x, labels)
        for optimiser in self._optimisers:
            optimiser.step()
        return losses

    def _loss(self, index: int, y: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """A layer's loss, and its normalised activations."""
        layer = self.layers[index]
        loss = F.cross_entropy(layer.goodness(y), labels)
        with torch.no_grad():
            return loss, layer.normalize(y)

    def _train_head(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """Gradients of what reads the last x; here nothing does."""
        return {}

    def finish(self, validation: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Choose the layers of `pruned`; in a tie, those that end, then those that begin, first."""
        depth = len(self.layers)
        correct = torch.zeros(depth, depth, dtype=torch.int64)  # by last layer, then by first
        for images, labels in validation:
            sums = torch.stack([torch.zeros(len(images), self.classes, device=images.device), *self._summed(images)])
            for last in range(depth):
                runs = sums[last + 1] - sums[: last + 1]  # (last + 1, B, N)
                correct[last, : last + 1] += (runs.argmax(2) == labels).sum(1).cpu()
        best = int(correct.flatten().argmax())
        self.run = (best % depth, best // depth)

    @torch.no_grad()
    def predict(self, images: Tensor, strategy: str) -> Tensor:
        """Logits (B, N) of a strategy; runs only the layers that it needs."""
        if strategy not in self.strategies:
            raise ValueError(f"strategy must be one of {', '.join(self.strategies)}, got {strategy!r}")
        first, last = self._run_of(strategy)
        return torch.stack([g for g, _ in self._pass(images, last + 1)][first:]).sum(0)

    @torch.no_grad()
    def layer_logits(self, images: Tensor) -> list[Tensor]:
        """G of every layer, (B, N) each."""
        return [g for g, _ in self._pass(images, len(self.layers))]

    @torch.no_grad()
    def layer_goodness(self, images: Tensor) -> list[Tensor]:
        """Mean of g over images and classes, a scalar per layer."""
        return [g.mean() for g in self.layer_logits(images)]

    @torch.no_grad()
    def examine(self, images: Tensor) -> Examination:
        """Results of ``predict``, ``layer_logits`` and ``layer_goodness`` from a single forward pass."""
        layers = self.layer_logits(images)
        strategies = {}
        for strategy in self.strategies:
            first, last = self._run_of(strategy)
            strategies[strategy] = torch.stack(layers[first : last + 1]).sum(0)
        return Examination(strategies, layers, [g.mean() for g in layers])

    def parameters(self, strategy: str | None = None) -> Iterator[Tensor]:
        """The tensors that a strategy predicts with; without a strategy, all trained tensors."""
        if strategy is None:
            yield from self.modules.parameters()
            return
        _, last = self._run_of(strategy)
        for layer in self.layers[: last + 1]:
            yield from layer.parameters()

    def state_dict(self) -> dict[str, Any]:
        """Layers, optimisers, schedules, and the chosen layers."""
        return {
            "modules": self.modules.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
            "run": list(self.run),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a ``state_dict``."""
        self.modules.load_state_dict(state["modules"])
        for optimiser, kept in zip(self._optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        first, last = state["run"]
        self.run = (first, last)

    def _run_of(self, strategy: str) -> tuple[int, int]:
        depth = len(self.layers)
        return self.run if strategy == "pruned" else (min(1, depth - 1), depth - 1)

    def _input(self, images: Tensor) -> Tensor:
        """x_0: every image normalised over channels and pixels."""
        return F.layer_norm(images.contiguous(), images.shape[1:]).contiguous(memory_format=torch.channels_last)

    def _pass(self, images: Tensor, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """G and the next x of the first ``count`` layers, one at a time."""
        self.modules.eval()
        x, kept = self._input(images), None
        for index, layer in enumerate(self.layers[:count]):
            y = layer.activate(x)
            x, kept = self._join(index, layer.normalize(y), kept)
            yield layer.goodness(y), x

    @torch.no_grad()
    def _summed(self, images: Tensor) -> list[Tensor]:
        """Sums of g over the first 1, 2, .. layers."""
        return list(torch.stack(self.layer_logits(images)).cumsum(0))

    def _join(self, index: int, x: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The next layer's x, and the map that is kept for a later one."""
        place = self.places[index]
        if place.shortcut != "none":
            assert kept is not None  # noqa: S101 -- a network keeps a map before it joins one
            if place.shortcut == "sum":
                x = x + kept
            else:  # within each group, so that groups stay together
                by_class = [each.unflatten(1, (self.classes, -1)) for each in (x, kept)]
                x = torch.cat(by_class, dim=2).flatten(1, 2).contiguous(memory_format=torch.channels_last)
        if place.pool > 1:
            x = pool2d(x, place.pool, self._settings.pooling)
        if place.keeps:
            kept = F.avg_pool2d(x, 2) if place.halves else x
        return x, kept


def _places(settings: DeeperForwardSettings, task: TaskShape) -> list[Place]:
    if settings.plan == RESNET:
        refuse_without_effect(settings, ["pooling"], f"plan {RESNET!r}")
        return resnet17(settings.width)
    refuse_without_effect(settings, ["width"], f"plan {settings.plan!r}")
    return [Place(layer.channels, layer.stride, layer.pool) for layer in parse_plan(settings.plan, task.shape)]


class DeeperForward:
    """The method as the harness registers it."""

    Settings: ClassVar[type[DeeperForwardSettings]] = DeeperForwardSettings
    strategies: ClassVar[tuple[str, ...]] = DeeperForwardLearner.strategies
    build: ClassVar[type[DeeperForwardLearner]] = DeeperForwardLearner
    small: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"plan": "10,M,20,20"},
        {"plan": RESNET, "width": 10, "learning_rate": 1e-2},
    )
    optimiser = staticmethod(optimiser_in_words)

    @staticmethod
    def published(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Rows of published.csv: of the published network."""
        if settings.get("plan") != RESNET:
            return []
        wide = [("DeeperForward", "ResNet-17 3x channels")] if settings.get("width", 0) >= 3 * 100 else []
        return [*wide, ("DeeperForward", "ResNet-17")]

    @staticmethod
    def between(settings: Mapping[str, Any]) -> str:
        """Describe, in words, the layers between the convolutions."""
        joined = "shortcuts" if settings.get("plan") == RESNET else f"{settings.get('pooling')} pooling"
        return f"ReLU, normalisation of each class's group, {joined}"
