"""CwC, channel-wise competitive learning for FF (Papachristodoulou et al., AAAI 2024, arXiv 2312.12668).

    layer l:  x_l = BatchNorm([MaxPool_2](ReLU(Conv(x_{l-1}))))         x_{l-1} is detached; every second layer pools
    G_j = mean of x_l^2 over the channels of group j and over space     N groups of C / N channels, one per class
    L_l = CE(G, label)                                                  no negative data

Other losses: PvN = mean of softplus(2 - G_label) and softplus(mean of the other G_j - 2), and 0.28 CE + 0.72 PvN.
CFSE blocks alternate along depth: an extractor (ordinary convolution), then a separator (convolution with N groups).
Interleaved layer training (ILT): layer l trains only in its own part of training, which ends earlier for shallower
layers; outside it the layer is frozen, its BatchNorm statistics included. Where classes have superclasses, the first
layers may compete for those. Predictions:

    goodness   G of the last layer
    softmax    a linear layer on the last layer's output, trained by cross-entropy
    best       G of the layer that was most accurate on validation data; later layers are not run

Shapes: B images, C channels, N classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge, Gt, Le, Lt, MinLen
from torch import Tensor, nn

from asge.common.best_layer import most_accurate, most_accurate_layer
from asge.common.marks import Choice
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
from asge.common.types import Examination, Neutral, TaskShape, TrainingBudget
from baselines.cwc_layer import CwCLayer, LossName, class_goodness, goodness_loss

ROUNDING = 1e-9
"""Tolerance for shares such as 10 / 23 of 23 epochs, which are not exactly whole."""


@settings_class
class CwCSettings:
    """Settings of CwC.

    Attributes:
        channels: of each layer, multiples of the number of classes (or superclasses) that it tells apart.
        blocks: "cfse" (extractors and separators alternate) or "plain" (ordinary convolutions only).
        pool_every: every so many layers, one pools: 2 as published; more where networks are deeper than images allow.
        loss: "ce", "pvn" or "ce+pvn".
        superclass_layers: number of first layers that tell superclasses apart; needs a task that has them.
        train_until: share of training after which each layer is frozen (ILT), one per layer; the default is the
            published schedule of FashionMNIST: epochs 10, 15, 19 and 23 of 23.
        train_from: share of training before which each layer is frozen, one per layer; empty: all train from the start.
        head: `softmax` reads the whole output of the last layer ("flat"), as published, or each map's mean ("pooled").
        head_from: share of training before which the linear layer of `softmax` does not train.
        head_learning_rate: of that linear layer, which reads every pixel of every channel; null for `learning_rate`.
        optimiser, learning_rate, weight_decay, momentum, schedule: see ``asge.common.optimisers``; momentum is SGD's.
    """

    channels: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (20, 80, 240, 480)
    blocks: Literal["cfse", "plain"] = "cfse"
    pool_every: Annotated[int, Ge(1), Neutral(2)] = 2
    loss: Annotated[LossName, Choice(("ce", "ce+pvn"))] = "ce"
    superclass_layers: Annotated[int, Ge(0)] = 0
    train_until: tuple[Annotated[float, Gt(0), Le(1)], ...] = (10 / 23, 15 / 23, 19 / 23, 1.0)
    train_from: tuple[Annotated[float, Ge(0), Lt(1)], ...] = ()
    head: Annotated[Literal["flat", "pooled"], Neutral("flat")] = "flat"
    head_from: Annotated[float, Ge(0), Lt(1)] = 0.0
    head_learning_rate: Annotated[Annotated[float, Gt(0)] | None, Neutral(None)] = None
    optimiser: OptimiserSetting = "adam"
    learning_rate: LearningRate = 1e-2
    weight_decay: WeightDecay = 0.0
    momentum: Momentum = 0.9
    schedule: ScheduleSetting = "constant"


class CwCLearner:
    """Trains a convolutional network whose channels compete, class against class, layer by layer.

    Attributes:
        best_layer: index of the layer that `best` predicts with.
    """

    strategies = ("goodness", "softmax", "best")

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
            pool = (index + 1) % settings.pool_every == 0
            groups = classes if separator else 1
            self.layers.append(CwCLayer(inputs, channels, groups=groups, pool=pool, generator=generator))
            self._groups.append(classes)
            inputs = channels
            height, width = (height // 2, width // 2) if pool else (height, width)
        if min(height, width) < 1:
            raise ValueError(f"{depth} layers pool images of {task.shape[1:]} pixels to nothing")
        self._pooled = settings.head == "pooled"
        self.head = nn.Linear(inputs if self._pooled else inputs * height * width, task.classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self._modules = nn.ModuleList([*self.layers, self.head]).to(device)
        self._modules.to(memory_format=torch.channels_last)
        starts = settings.train_from or (0.0,) * depth
        self._windows = [_epochs(*window, budget.epochs) for window in zip(starts, settings.train_until, strict=True)]
        self._head_window = _epochs(settings.head_from, 1.0, budget.epochs)
        self.best_layer = depth - 1
        self._trains = [True] * depth
        self._head_trains = True
        self.on_layer: Callable[[], None] | None = None
        steps = budget.epochs * budget.steps_per_epoch
        body, head = self.parameters("goodness"), self.head.parameters()
        self._optimiser = ScheduledOptimiser.with_head(body, head, settings, steps, settings.head_learning_rate)

    def begin_epoch(self, epoch: int) -> None:
        """Freeze the layers whose training window is over or not yet open (epochs count from 0)."""
        self._trains = [epoch in window for window in self._windows]
        self._head_trains = epoch in self._head_window

    def train_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Train every layer whose window is open, then the head, on images (B, C, H, W) and labels (B,) int64.

        Returns:
            Detached scalar losses: ``layerK`` of the layers in training, and ``softmax``.
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
                del out  # frees its graph, which no backward pass uses
                loss.backward()
                losses[f"layer{index + 1}"] = loss.detach()
            elif self._head_trains or any(self._trains[index:]):
                with torch.no_grad():
                    x = layer(x)
            if self.on_layer is not None and any(self._trains):
                self.on_layer()
        if self._head_trains:
            loss = F.cross_entropy(self._softmax_logits(x), labels)
            loss.backward()
            losses["softmax"] = loss.detach()
        self._optimiser.step()
        return losses

    def finish(self, validation: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Choose the layer of `best`, see ``asge.common.best_layer``."""
        self.best_layer = most_accurate_layer(self.layer_logits, validation)

    def choose_layer(self, accuracies: Sequence[float]) -> dict[str, float]:
        """Choose the layer as ``finish`` would, from all layers' validation accuracies; returns that of `best`."""
        self.best_layer = most_accurate(accuracies)
        return {"best": accuracies[self.best_layer]}

    @torch.no_grad()
    def predict(self, images: Tensor, strategy: str) -> Tensor:
        """Logits (B, N) of a strategy; runs only the layers that it needs."""
        if strategy not in self.strategies:
            raise ValueError(f"strategy must be one of {', '.join(self.strategies)}, got {strategy!r}")
        last = self.best_layer if strategy == "best" else len(self.layers) - 1
        out = self._output(images, last)
        return self._softmax_logits(out) if strategy == "softmax" else self._class_logits(last, out)

    @torch.no_grad()
    def layer_logits(self, images: Tensor) -> list[Tensor]:
        """G of every layer, (B, N) each; in a layer of superclasses, each class gets the G of its superclass."""
        return self._layers_logits(self._outputs(images))

    @torch.no_grad()
    def layer_goodness(self, images: Tensor) -> list[Tensor]:
        """Mean of x_l^2 over images, channels and space, a scalar per layer."""
        return _mean_squares(self._outputs(images))

    @torch.no_grad()
    def examine(self, images: Tensor) -> Examination:
        """Results of ``predict``, ``layer_logits`` and ``layer_goodness`` from a single forward pass."""
        outputs = self._outputs(images)
        layers = self._layers_logits(outputs)
        return Examination(
            strategies={
                "goodness": layers[-1],
                "softmax": self._softmax_logits(outputs[-1]),
                "best": layers[self.best_layer],
            },
            layers=layers,
            goodness=_mean_squares(outputs),
        )

    def parameters(self, strategy: str | None = None) -> Iterator[Tensor]:
        """The tensors that a strategy predicts with; without a strategy, all tensors."""
        for layer in self.layers[: self.best_layer + 1] if strategy == "best" else self.layers:
            yield from layer.parameters()
        if strategy in (None, "softmax"):
            yield from self.head.parameters()

    def state_dict(self) -> dict[str, Any]:
        """Layers, head, optimiser, schedule, and the chosen layer; ``begin_epoch`` restores what is frozen."""
        return {
            "modules": self._modules.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "best_layer": self.best_layer,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a ``state_dict``."""
        self._modules.load_state_dict(state["modules"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.best_layer = state["best_layer"]

    def _target(self, index: int, labels: Tensor) -> Tensor:
        return self._superclass[labels] if index < self._superclass_layers else labels

    def _layers_logits(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        return [self._class_logits(index, out) for index, out in enumerate(outputs)]

    def _class_logits(self, index: int, out: Tensor) -> Tensor:
        goodness = class_goodness(out, self._groups[index])
        return goodness[:, self._superclass] if index < self._superclass_layers else goodness

    def _softmax_logits(self, out: Tensor) -> Tensor:
        logits: Tensor = self.head(out.mean((2, 3)) if self._pooled else out.flatten(1))
        return logits

    def _output(self, images: Tensor, index: int) -> Tensor:
        x = images.contiguous(memory_format=torch.channels_last)
        for layer in self.layers[: index + 1]:
            x = layer.eval()(x)
        return x

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
    """The epochs of a window given in shares of training: at least one epoch."""
    if start >= end:
        raise ValueError(f"a layer cannot train from {start:g} until {end:g} of training")
    first = min(math.ceil(start * epochs - ROUNDING), epochs - 1)
    return range(first, max(first + 1, math.ceil(end * epochs - ROUNDING)))


def _superclasses(task: TaskShape, layers: int, depth: int) -> Tensor:
    """The superclass of every class, (N,) int64; the class itself where no layer uses superclasses."""
    if layers == 0:
        return torch.arange(task.classes)
    superclasses: Sequence[int] | None = getattr(task, "superclasses", None)
    if superclasses is None:
        raise ValueError("superclass_layers needs a task whose classes have superclasses, such as cifar100")
    if layers > depth:
        raise ValueError(f"superclass_layers must be at most the number of layers ({depth}), got {layers}")
    return torch.tensor(superclasses)


class CwC:
    """The method as the harness registers it."""

    Settings: ClassVar[type[CwCSettings]] = CwCSettings
    strategies: ClassVar[tuple[str, ...]] = CwCLearner.strategies
    build: ClassVar[type[CwCLearner]] = CwCLearner
    small: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"channels": [10, 20], "train_until": [0.5, 1.0]},
        {"channels": [10, 20], "train_until": [1.0, 1.0], "blocks": "plain", "loss": "ce+pvn", "head": "pooled"},
        {"channels": [10, 20], "train_until": [1.0, 1.0], "head_learning_rate": 1e-3, "schedule": "cosine"},
    )

    @staticmethod
    def published(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Rows of published.csv: the published results use CFSE blocks."""
        return [("CwC", "CFSE")] if settings.get("blocks") == "cfse" else []

    @staticmethod
    def between(settings: Mapping[str, Any]) -> str:  # noqa: ARG004
        """Describe, in words, the layers between the convolutions."""
        return "ReLU, max pooling, BatchNorm"

    @staticmethod
    def optimiser(settings: Mapping[str, Any]) -> str:
        """Describe the optimiser, in words."""
        return optimiser_in_words(settings, "head")
