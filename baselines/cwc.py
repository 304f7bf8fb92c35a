"""CwC, channel-wise competitive learning for FF (Papachristodoulou et al., AAAI 2024, arXiv 2312.12668).

    layer l:  x_l = BatchNorm([MaxPool_2](ReLU(Conv(x_{l-1}))))         x_{l-1} is detached; pool on every second layer
    G_j = mean of x_l^2 over the channels of group j and over space     N groups of C / N channels, one per class
    L_l = CE(G, label)                                                  no negative data

Other losses: PvN = mean of softplus(2 - G_label) and softplus(mean of the other G_j - 2), and 0.28 CE + 0.72 PvN.
CFSE blocks alternate along depth: an extractor (ordinary convolution), then a separator (convolution with N groups).
Interleaved layer training (ILT): layer l trains only in its own part of training, the shallower the earlier it ends;
outside it is frozen, its BatchNorm statistics included. Where classes have superclasses, the first layers may compete
for those. Shapes: B images, C channels, N classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asge.optim import LearningRate, Momentum, OptimiserSetting, ScheduledOptimiser, ScheduleSetting, WeightDecay
from asge.search import Choice
from asge.types import Examination, Neutral, TaskShape, TrainingBudget

BATCH_NORM_EPS = 1e-4
BATCH_NORM_MOMENTUM = 0.1
POOL_EVERY = 2
PVN_MARGIN = 2.0
PVN_SHARE = 0.72
"""Of "ce+pvn"."""
ROUNDING = 1e-9
"""Shares such as 10 / 23 of 23 epochs are not exactly whole."""
LossName = Literal["ce", "pvn", "ce+pvn"]


@dataclass(frozen=True, kw_only=True)
class CwCSettings:
    """Settings of CwC.

    Attributes:
        channels: of each layer, multiples of the number of classes (or of superclasses) that it tells apart.
        blocks: "cfse" (extractors and separators alternate) or "plain" (ordinary convolutions only).
        loss: "ce", "pvn" or "ce+pvn".
        superclass_layers: so many of the first layers tell superclasses apart; the task has to have them.
        train_until: the share of training after which each layer is frozen (ILT), one per layer; the published
            windows of FashionMNIST, 10, 15, 19 and 23 of 23 epochs, by default.
        train_from: the share before which each layer is frozen, one per layer; none for all from the start.
        head_from: the share before which the linear layer of `softmax` does not train.
        head_learning_rate: of that linear layer, which reads every pixel of every channel; null for `learning_rate`.
        optimiser, learning_rate, weight_decay, momentum, schedule: see ``asge.optim``; momentum is SGD's.
    """

    channels: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (20, 80, 240, 480)
    blocks: Literal["cfse", "plain"] = "cfse"
    loss: Annotated[LossName, Choice(("ce", "ce+pvn"))] = "ce"
    superclass_layers: Annotated[int, Ge(0)] = 0
    train_until: tuple[Annotated[float, Gt(0), Le(1)], ...] = (10 / 23, 15 / 23, 19 / 23, 1.0)
    train_from: tuple[Annotated[float, Ge(0), Lt(1)], ...] = ()
    head_from: Annotated[float, Ge(0), Lt(1)] = 0.0
    head_learning_rate: Annotated[Annotated[float, Gt(0)] | None, Neutral] = None
    optimiser: OptimiserSetting = "adam"
    learning_rate: LearningRate = 1e-2
    weight_decay: WeightDecay = 0.0
    momentum: Momentum = 0.9
    schedule: ScheduleSetting = "constant"


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
        self.norm = nn.BatchNorm2d(out_channels, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W'), half the size if the layer pools."""
        out: Tensor = self.norm(self._rectified(x))
        return out

    def compete(self, x: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """``out = self(x)`` in training mode and ``class_goodness(out, classes)``, whose gradient is linear in z.

        With z what BatchNorm reads, S = sum of z and Q = sum of z^2 over the P pixels of an image's channel:

            out = a z + b,   a = gamma / sqrt(var + eps),   b = beta - a mean       mean, var from the batch's S and Q
            sum of out^2 = a^2 Q + 2 a b S + P b^2

        G depends on z only through S and Q, so that dG/dz = dG/dS + 2 z dG/dQ: one pass over z instead of those of
        BatchNorm's gradient and of the squares'. Equal but for rounding, which is that of S and Q: where a channel's
        mean is so large that var < 1e-5 mean^2, float32 has few digits left of var.

        Args:
            x: what the layer reads, (B, C, H, W).
            classes: N.

        Returns:
            out, (B, C', H', W'), and G, (B, N). The running statistics have moved.
        """
        z = self._rectified(x)
        batch, channels, height, width = z.shape
        pixels, norm = height * width, self.norm
        sums, squares = (each.double() for each in _Sums.apply(z))
        mean = sums.sum(0) / (batch * pixels)
        variance = (squares.sum(0) / (batch * pixels) - mean.square()).clamp(min=0)
        a = norm.weight * (variance + norm.eps).rsqrt()
        b = norm.bias - a * mean
        energy = a.square() * squares + 2 * a * b * sums + pixels * b.square()
        goodness = energy.reshape(batch, classes, -1).sum(2) / (channels // classes * pixels)
        self._remember(mean.detach(), variance.detach(), batch * pixels)
        dtype = torch.promote_types(z.dtype, torch.float32)
        out = torch.addcmul(_by_channel(b).to(dtype), _by_channel(a).to(dtype), z.to(dtype)).to(z.dtype)
        return out, goodness.to(dtype)

    def _rectified(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        if self.pool:  # before the ReLU, with which it commutes: a quarter of the values to rectify, back and forth
            y = F.max_pool2d(y, 2)
        return F.relu(y, inplace=True)

    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """BatchNorm's running statistics, of `count` values per channel."""
        statistics = dict(self.norm.named_buffers())  # as attributes they might be None, for all that types know
        mean, variance = mean.to(statistics["running_mean"]), variance.to(statistics["running_var"])
        statistics["running_mean"].lerp_(mean, BATCH_NORM_MOMENTUM)
        statistics["running_var"].lerp_(variance * (count / max(count - 1, 1)), BATCH_NORM_MOMENTUM)
        statistics["num_batches_tracked"].add_(1)


class _Sums(torch.autograd.Function):
    """Sums over space of z and of z^2, (B, C, H, W) -> two of (B, C), in float32 at least."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(z)
        dtype = torch.promote_types(z.dtype, torch.float32)
        return z.sum((2, 3), dtype=dtype), z.to(dtype).square().sum((2, 3))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        by_sum, by_squares = (_by_channel(gradient) for gradient in gradients)
        return torch.addcmul(by_sum, by_squares, z.to(by_sum.dtype), value=2).to(z.dtype)


def _by_channel(x: Tensor) -> Tensor:
    """(..., C) -> (..., C, 1, 1)."""
    return x[..., None, None]


def class_goodness(x: Tensor, classes: int) -> Tensor:
    """G: mean square over each class's group of channels and over space, (B, C, H, W) -> (B, N)."""
    batch, channels, height, width = x.shape
    return x.reshape(batch, classes, channels // classes, height, width).square().mean((2, 3, 4))


def pvn_loss(goodness: Tensor, labels: Tensor) -> Tensor:
    """PvN of goodness (B, N) and labels (B,): positive against the mean of the negative groups, a scalar."""
    classes = goodness.shape[1]
    positive = goodness.gather(1, labels[:, None])[:, 0]
    negative = (goodness.sum(1) - positive) / (classes - 1)
    return (F.softplus(PVN_MARGIN - positive).mean() + F.softplus(negative - PVN_MARGIN).mean()) / 2


def goodness_loss(goodness: Tensor, labels: Tensor, name: LossName) -> Tensor:
    """The loss of a layer by name, from goodness (B, N) and labels (B,) int64: a scalar."""
    if name == "ce":
        return F.cross_entropy(goodness, labels)
    if name == "pvn":
        return pvn_loss(goodness, labels)
    return (1 - PVN_SHARE) * F.cross_entropy(goodness, labels) + PVN_SHARE * pvn_loss(goodness, labels)


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
        depth = len(settings.channels)
        for name, shares in {"train_until": settings.train_until, "train_from": settings.train_from}.items():
            if len(shares) != depth and (shares or name == "train_until"):
                raise ValueError(f"{name} needs one value per layer ({depth}), got {len(shares)}")
        self._loss: LossName = settings.loss
        self._superclass = _superclasses(task, settings.superclass_layers, depth).to(device)
        self._superclass_layers = settings.superclass_layers
        inputs, height, width = task.shape
        self.layers: list[CwCLayer] = []
        self._groups: list[int] = []
        for index, channels in enumerate(settings.channels):
            classes = int(self._superclass.max()) + 1 if index < settings.superclass_layers else task.classes
            if channels % classes:
                raise ValueError(f"channels must be multiples of the {classes} classes, got {channels}")
            separator = settings.blocks == "cfse" and index % 2 == 1
            pool = index % POOL_EVERY == POOL_EVERY - 1
            groups = classes if separator else 1
            self.layers.append(CwCLayer(inputs, channels, groups=groups, pool=pool, generator=generator))
            self._groups.append(classes)
            inputs = channels
            height, width = (height // 2, width // 2) if pool else (height, width)
        if min(height, width) < 1:
            raise ValueError(f"{depth} layers pool images of {task.shape[1:]} pixels to nothing")
        self.head = nn.Linear(inputs * height * width, task.classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self._modules = nn.ModuleList([*self.layers, self.head]).to(device)
        self._modules.to(memory_format=torch.channels_last)
        starts = settings.train_from or (0.0,) * depth
        self._windows = [_epochs(*window, budget.epochs) for window in zip(starts, settings.train_until, strict=True)]
        self._head_window = _epochs(settings.head_from, 1.0, budget.epochs)
        self._trains = [True] * depth
        self._head_trains = True
        self.on_layer: Callable[[], None] | None = None
        head_rate = settings.head_learning_rate or settings.learning_rate
        rates: list[dict[str, Any]] = [
            {"params": list(self.parameters("goodness"))},
            {"params": list(self.head.parameters()), "lr": head_rate},
        ]
        self._optimiser = ScheduledOptimiser(rates, settings, total_steps=budget.epochs * budget.steps_per_epoch)

    def begin_epoch(self, epoch: int) -> None:
        """Freeze the layers whose training window is over or yet to come (epochs count from 0)."""
        self._trains = [epoch in window for window in self._windows]
        self._head_trains = epoch in self._head_window

    def train_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Train every layer whose window is open, then the head, on images (B, C, H, W), labels (B,) int64.

        Returns:
            Detached scalar losses: ``layerK`` of the layers that train, and ``softmax``.
        """
        self._optimiser.zero_grad()
        losses: dict[str, Tensor] = {}
        x = images.contiguous(memory_format=torch.channels_last)
        for index, layer in enumerate(self.layers):
            layer.train(self._trains[index])
            if self._trains[index]:
                out, goodness = layer.compete(x, self._groups[index])
                loss = goodness_loss(goodness, self._target(index, labels), self._loss)
                x = out.detach()
                del out  # with what its graph, which nothing runs backward, holds
                loss.backward()
                losses[f"layer{index + 1}"] = loss.detach()
            elif self._head_trains or any(self._trains[index:]):
                with torch.no_grad():
                    x = layer(x)
            if self.on_layer is not None and any(self._trains):
                self.on_layer()
        if self._head_trains:
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
        return self._class_logits(len(self.layers) - 1, out) if strategy == "goodness" else self._softmax_logits(out)

    @torch.no_grad()
    def layer_logits(self, images: Tensor) -> list[Tensor]:
        """G of every layer, (B, N) each; where a layer tells superclasses apart, a class has its superclass's."""
        return self._layers_logits(self._outputs(images))

    @torch.no_grad()
    def layer_goodness(self, images: Tensor) -> list[Tensor]:
        """Mean of x_l squared, over images, channels and space, of every layer."""
        return _mean_squares(self._outputs(images))

    @torch.no_grad()
    def examine(self, images: Tensor) -> Examination:
        """What ``predict``, ``layer_logits`` and ``layer_goodness`` give, from one pass."""
        outputs = self._outputs(images)
        layers = self._layers_logits(outputs)
        return Examination(
            strategies={"goodness": layers[-1], "softmax": self._softmax_logits(outputs[-1])},
            layers=layers,
            goodness=_mean_squares(outputs),
        )

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

    def _target(self, index: int, labels: Tensor) -> Tensor:
        return self._superclass[labels] if index < self._superclass_layers else labels

    def _layers_logits(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        return [self._class_logits(index, out) for index, out in enumerate(outputs)]

    def _class_logits(self, index: int, out: Tensor) -> Tensor:
        goodness = class_goodness(out, self._groups[index])
        return goodness[:, self._superclass] if index < self._superclass_layers else goodness

    def _softmax_logits(self, out: Tensor) -> Tensor:
        logits: Tensor = self.head(out.flatten(1))
        return logits

    def _outputs(self, images: Tensor) -> list[Tensor]:
        x, outputs = images.contiguous(memory_format=torch.channels_last), []
        for layer in self.layers:
            layer.eval()
            x = layer(x)
            outputs.append(x)
        return outputs


def _mean_squares(outputs: Sequence[Tensor]) -> list[Tensor]:
    return [out.square().mean() for out in outputs]


def _epochs(start: float, end: float, epochs: int) -> range:
    """The epochs of a window given in shares of training; at least one, the last where the window is at the end."""
    if start >= end:
        raise ValueError(f"a layer cannot train from {start:g} until {end:g} of training")
    first = min(math.ceil(start * epochs - ROUNDING), epochs - 1)
    return range(first, max(first + 1, math.ceil(end * epochs - ROUNDING)))


def _superclasses(task: TaskShape, layers: int, depth: int) -> Tensor:
    """The superclass of every class, (N,) int64; each class its own where no layer asks for superclasses."""
    if layers == 0:
        return torch.arange(task.classes)
    superclasses: Sequence[int] | None = getattr(task, "superclasses", None)
    if superclasses is None:
        raise ValueError("superclass_layers needs a task whose classes have superclasses, such as cifar100")
    if layers > depth:
        raise ValueError(f"superclass_layers must be at most the number of layers ({depth}), got {layers}")
    return torch.tensor(superclasses)


class CwC:
    """The method as the harness finds it."""

    Settings: ClassVar[type[CwCSettings]] = CwCSettings
    strategies: ClassVar[tuple[str, ...]] = CwCLearner.strategies
    build: ClassVar[type[CwCLearner]] = CwCLearner

    @staticmethod
    def published(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The published figures are of CFSE blocks."""
        return [("CwC", "CFSE")] if settings.get("blocks") == "cfse" else []

    @staticmethod
    def between(settings: Mapping[str, Any]) -> str:  # noqa: ARG004
        """What lies between the convolutions, in words."""
        return "ReLU, max pooling, BatchNorm"
