"""CwC, channel-wise competitive learning for FF (Papachristodoulou et al., AAAI 2024, arXiv 2312.12668).

    layer l:  x_l = BatchNorm([MaxPool_2](ReLU(Conv(x_{l-1}))))         x_{l-1} is detached; pool on every second layer
    G_j = mean of x_l^2 over the channels of group j and over space     N groups of C / N channels, one per class
    L_l = CE(G, label)                                                  no negative data

CFSE blocks alternate along depth: an extractor (ordinary convolution), then a separator (convolution with N groups).
Interleaved layer training (ILT): layer l trains only in the first part of training, the shallower the shorter; then
it is frozen, its BatchNorm statistics included. Shapes: B images, C channels, N classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge, Gt, Le, MinLen
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asge.optim import LearningRate, Momentum, OptimiserName, ScheduledOptimiser, ScheduleName, WeightDecay
from asge.types import TaskShape, TrainingBudget

BATCH_NORM_EPS = 1e-4
POOL_EVERY = 2


@dataclass(frozen=True, kw_only=True)
class CwCSettings:
    """Settings of CwC.

    Attributes:
        channels: of each layer, multiples of the number of classes.
        blocks: "cfse" (extractors and separators alternate) or "plain" (ordinary convolutions only).
        train_until: the share of training after which each layer is frozen (ILT), one per layer; the published
            windows of FashionMNIST, 10, 15, 19 and 23 of 23 epochs, by default.
        optimiser, learning_rate, weight_decay, momentum, schedule: see ``asge.optim``; momentum is SGD's.
    """

    channels: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (20, 80, 240, 480)
    blocks: Literal["cfse", "plain"] = "cfse"
    train_until: tuple[Annotated[float, Gt(0), Le(1)], ...] = (10 / 23, 15 / 23, 19 / 23, 1.0)
    optimiser: OptimiserName = "adam"
    learning_rate: LearningRate = 1e-2
    weight_decay: WeightDecay = 0.0
    momentum: Momentum = 0.9
    schedule: ScheduleName = "constant"


class CwCLayer(nn.Module):
    """Convolution, ReLU, optional max pool, BatchNorm."""

    def __init__(
        self, in_channels: int, out_channels: int, *, groups: int, pool: bool, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, groups=groups)
        self.conv.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu", generator=generator)
        self.pool = pool
        self.norm = nn.BatchNorm2d(out_channels, eps=BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W'), half the size if the layer pools."""
        y = F.relu(self.conv(x), inplace=True)
        out: Tensor = self.norm(F.max_pool2d(y, 2) if self.pool else y)
        return out


def class_goodness(x: Tensor, classes: int) -> Tensor:
    """G: mean square over each class's group of channels and over space, (B, C, H, W) -> (B, N)."""
    batch, channels, height, width = x.shape
    return x.reshape(batch, classes, channels // classes, height, width).square().mean((2, 3, 4))


class CwCLearner:
    """A convolutional network whose channels compete, class against class, layer by layer."""

    strategies = ("goodness", "softmax")

    def __init__(
        self,
        task: TaskShape,
        settings: CwCSettings,
        budget: TrainingBudget,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        self.classes = task.classes
        uneven = [channels for channels in settings.channels if channels % task.classes]
        if uneven:
            raise ValueError(f"channels must be multiples of the {task.classes} classes, got {uneven[0]}")
        if len(settings.train_until) != len(settings.channels):
            raise ValueError(
                f"train_until needs one value per layer ({len(settings.channels)}), got {len(settings.train_until)}"
            )
        inputs, height, width = task.shape
        self.layers: list[CwCLayer] = []
        for index, channels in enumerate(settings.channels):
            separator = settings.blocks == "cfse" and index % 2 == 1
            pool = index % POOL_EVERY == POOL_EVERY - 1
            groups = task.classes if separator else 1
            self.layers.append(CwCLayer(inputs, channels, groups=groups, pool=pool, generator=generator))
            inputs = channels
            height, width = (height // 2, width // 2) if pool else (height, width)
        if min(height, width) < 1:
            raise ValueError(f"{len(settings.channels)} layers pool images of {task.shape[1:]} pixels to nothing")
        self.head = nn.Linear(inputs * height * width, task.classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        # Not channels_last: grouped convolutions are up to eighteen times slower in that layout on a CPU.
        self._modules = nn.ModuleList([*self.layers, self.head]).to(device)
        self._last_epoch = [max(1, math.ceil(share * budget.epochs - 1e-9)) for share in settings.train_until]
        self._trains = [True] * len(self.layers)
        self.on_layer: Callable[[], None] | None = None
        self._optimiser = ScheduledOptimiser(
            self._modules.parameters(), settings, total_steps=budget.epochs * budget.steps_per_epoch
        )

    def begin_epoch(self, epoch: int) -> None:
        """Freeze the layers whose training window is over (epochs count from 0)."""
        self._trains = [epoch < last for last in self._last_epoch]

    def train_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Train every layer whose window is open, then the head, on images (B, C, H, W), labels (B,) int64.

        Returns:
            Detached scalar losses: ``layerK`` of the layers that train, and ``softmax``.
        """
        self._optimiser.zero_grad()
        losses: dict[str, Tensor] = {}
        x = images
        for index, layer in enumerate(self.layers):
            layer.train(self._trains[index])
            if self._trains[index]:
                out = layer(x)
                loss = F.cross_entropy(class_goodness(out, self.classes), labels)
                loss.backward()
                losses[f"layer{index + 1}"] = loss.detach()
                x = out.detach()
            else:
                with torch.no_grad():
                    x = layer(x)
            if self.on_layer is not None:
                self.on_layer()
        loss = F.cross_entropy(self.head(x.flatten(1)), labels)
        loss.backward()
        losses["softmax"] = loss.detach()
        self._optimiser.step()
        return losses

    def finish(self, validation: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Nothing to choose."""

    @torch.no_grad()
    def predict(self, images: Tensor, strategy: str) -> Tensor:
        """Logits (B, N): ``goodness``, G of the last layer; ``softmax``, a linear layer on its flat output."""
        if strategy not in self.strategies:
            raise ValueError(f"strategy must be one of {', '.join(self.strategies)}, got {strategy!r}")
        out = self._outputs(images)[-1]
        if strategy == "goodness":
            return class_goodness(out, self.classes)
        logits: Tensor = self.head(out.flatten(1))
        return logits

    @torch.no_grad()
    def layer_logits(self, images: Tensor) -> list[Tensor]:
        """G of every layer, (B, N) each."""
        return [class_goodness(out, self.classes) for out in self._outputs(images)]

    @torch.no_grad()
    def layer_goodness(self, images: Tensor) -> list[Tensor]:
        """Mean of x_l squared, over images, channels and space, of every layer."""
        return [out.square().mean() for out in self._outputs(images)]

    def parameters(self, strategy: str | None = None) -> Iterator[Tensor]:
        """The tensors that a strategy predicts with; without one, all of them."""
        for layer in self.layers:
            yield from layer.parameters()
        if strategy != "goodness":
            yield from self.head.parameters()

    def state_dict(self) -> dict[str, Any]:
        """Layers, head, optimiser and schedule; ``begin_epoch`` sets what is frozen."""
        return {"modules": self._modules.state_dict(), "optimiser": self._optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken."""
        self._modules.load_state_dict(state["modules"])
        self._optimiser.load_state_dict(state["optimiser"])

    def _outputs(self, images: Tensor) -> list[Tensor]:
        x, outputs = images, []
        for layer in self.layers:
            layer.eval()
            x = layer(x)
            outputs.append(x)
        return outputs


class CwC:
    """The method as the harness finds it."""

    Settings: ClassVar[type[CwCSettings]] = CwCSettings
    strategies: ClassVar[tuple[str, ...]] = CwCLearner.strategies
    published: ClassVar[tuple[str, str]] = ("CwC", "CFSE")
    build: ClassVar[type[CwCLearner]] = CwCLearner
