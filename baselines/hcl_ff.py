"""HCL-FF: DeeperForward with coarse classes first and a contrastive loss (Yao, Chen, Kuo, CVPR 2026).

    layer l of DeeperForward, whose loss is    L_l = CE(mean of g_l over the classes of each coarse class, coarse label)
                                                     + SupCon(z_l, label)
    z_l = P_l average_pool(x_l) / length       P_l linear to 128 values, with batch normalisation; trained, then unused
    SupCon(z, label) = mean over i of  - mean over j of i's label of  log softmax over k != i of (z_i . z_k / t), at j

Coarse classes come from a tree of classes: layer l of L uses level l D / L of D, the last of which are the classes
themselves. The temperature t falls from 0.8 to 0.2 in 50 epochs, then to 0.1. After the last layer a linear classifier
is trained on the mean of each map. Predictions:

    goodness, pruned   as DeeperForward's
    softmax            the classifier
    ensemble           the mean of the probabilities of pruned and softmax

Read from github.com/JNNNNYao/HCL-FF at 799349b. Shapes: B images, C channels, N classes, D levels, L layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge
from torch import Tensor, nn

from asge.common.settings import settings_class
from asge.common.types import Examination, Neutral, TaskShape, TrainingBudget
from baselines.deeper_forward import DeeperForward, DeeperForwardLearner, DeeperForwardSettings

Group = tuple[Annotated[int, Ge(0)], ...]
Levels = Literal["linear", "increasing"]
PROJECTED = 128
TEMPERATURES = (0.8, 0.2, 0.1)
WARM_UP = 50
"""Epochs from the first temperature to the second."""
FEW, SOME = 100, 400
"""Up to so many channels, z reads averages of 4x4 windows of a map, or of 2x2; beyond, of the whole map."""


@settings_class
class HCLFFSettings(DeeperForwardSettings):
    """Settings of HCL-FF: those of DeeperForward and two more.

    Attributes:
        hierarchy: levels of coarse classes, each a list of lists of labels, coarse to fine. Labels in no list are a
            class of their own. Without levels, all layers tell all classes apart.
        levels: layer l of L uses level l D / L ("linear"), or level l until all are used ("increasing").
    """

    hierarchy: tuple[tuple[Group, ...], ...] = ()
    levels: Annotated[Levels, Neutral("linear")] = "linear"


def coarse_labels(groups: Sequence[Sequence[int]], classes: int) -> Tensor:
    """The coarse class of every class, (N,) int64, from lists of labels; the others follow as classes of their own.

    Raises:
        ValueError: for a label that is none, or is in two lists.
    """
    found = torch.full((classes,), -1)
    for number, group in enumerate(groups):
        for label in group:
            if label >= classes or found[label] >= 0:
                reason = "is in two coarse classes" if label < classes else f"is none of {classes} classes"
                raise ValueError(f"hierarchy: label {label} {reason}")
            found[label] = number
    alone = (found < 0).nonzero()[:, 0]
    found[alone] = len(groups) + torch.arange(len(alone))
    return found


def contrastive_loss(z: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """SupCon of vectors of length 1, z (B, D), and labels (B,): a scalar; images without a partner count as 0."""
    if len(z) == 1:
        return 0 * z.sum()
    others = ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    similar = (z @ z.T / temperature).masked_fill(~others, -math.inf)
    log_shares = similar.log_softmax(1).masked_fill(~others, 0.0)
    partners = (labels[:, None] == labels) & others
    return -((log_shares * partners).sum(1) / partners.sum(1).clamp_min(1)).mean()


def temperature_of(epoch: int, epochs: int) -> float:
    """The temperature in an epoch, counted from 0."""
    high, middle, low = TEMPERATURES
    if epoch < WARM_UP:
        return high - (high - middle) * epoch / WARM_UP
    progress = (epoch - WARM_UP) / max(1, epochs - WARM_UP)
    return low + 0.5 * (middle - low) * (1 + math.cos(math.pi * progress))


class Projection(nn.Module):
    """z of a layer: averages of windows, a linear map, batch normalisation, length 1.

    Args:
        channels: of the layer.
        generator: draws the first weights.
    """

    def __init__(self, channels: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.side = 4 if channels <= FEW else 2 if channels <= SOME else 1
        self.linear = nn.Linear(channels * self.side**2, PROJECTED, bias=False)
        nn.init.kaiming_uniform_(self.linear.weight, a=math.sqrt(5), generator=generator)
        self.norm = nn.BatchNorm1d(PROJECTED)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 128)."""
        projected = self.linear(F.adaptive_avg_pool2d(x, self.side).flatten(1))
        return F.normalize(self.norm(projected) if len(x) > 1 else projected, dim=1)


class HCLFFLearner(DeeperForwardLearner):
    """Trains a network layer by layer, by coarse classes and by contrast."""

    strategies: tuple[str, ...] = ("goodness", "pruned", "softmax", "ensemble")

    def __init__(
        self,
        task: TaskShape,
        settings: HCLFFSettings,
        budget: TrainingBudget,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        super().__init__(task, settings, budget, device, generator)
        depth = len(self.layers)
        levels = [coarse_labels(groups, task.classes) for groups in settings.hierarchy]
        levels = levels or [torch.arange(task.classes)]
        linear = settings.levels == "linear"
        chosen = [i * len(levels) // depth if linear else min(i, len(levels) - 1) for i in range(depth)]
        self._coarse = [levels[level].to(device) for level in chosen]
        self._sums = [_membership(coarse).to(device) for coarse in self._coarse]
        self._epoch, self._epochs = 0, budget.epochs

    def _further_modules(self, generator: torch.Generator) -> list[nn.Module]:
        self.projections = nn.ModuleList(
            Projection(layer.conv.out_channels, generator=generator) for layer in self.layers
        )
        self.head = nn.Linear(self.channels, self.classes)
        nn.init.kaiming_uniform_(self.head.weight, a=math.sqrt(5), generator=generator)
        nn.init.zeros_(self.head.bias)
        return [self.head, self.projections]

    def _trained(self) -> list[tuple[list[Tensor], DeeperForwardSettings]]:
        """The projections learn at twice the rate."""
        own = self._settings
        twice = replace(own, learning_rate=2 * own.learning_rate, min_learning_rate=2 * own.min_learning_rate)
        body: list[Tensor] = [parameter for part in (*self.layers, self.head) for parameter in part.parameters()]
        return [(body, own), ([*self.projections.parameters()], twice)]

    def begin_epoch(self, epoch: int) -> None:
        """Set the epoch, of which the temperature is a function."""
        self._epoch = epoch

    def _loss(self, index: int, y: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        layer = self.layers[index]
        normal = layer.normalize(y)
        coarse = layer.goodness(y) @ self._sums[index]
        z = self.projections[index](normal)
        contrast = contrastive_loss(z, labels, temperature_of(self._epoch, self._epochs))
        return F.cross_entropy(coarse, self._coarse[index][labels]) + contrast, normal

    def _train_head(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        loss = F.cross_entropy(self.head(x.mean((2, 3))), labels)
        loss.backward()
        for part in (self.head, *self.projections):
            nn.utils.clip_grad_norm_(part.parameters(), self._settings.clip_norm)
        return {"softmax": loss.detach()}

    @torch.no_grad()
    def predict(self, images: Tensor, strategy: str) -> Tensor:
        """Logits (B, N) of a strategy; of `ensemble`, logarithms of probabilities."""
        if strategy not in ("softmax", "ensemble"):
            return super().predict(images, strategy)
        return self.examine(images).strategies[strategy]

    @torch.no_grad()
    def examine(self, images: Tensor) -> Examination:
        """Results of ``predict``, ``layer_logits`` and ``layer_goodness`` from a single forward pass."""
        layers = []
        for g, x in self._pass(images, len(self.layers)):
            layers.append(g)
            last = x
        (first, end), depth = self.run, len(layers)
        pruned = torch.stack(layers[first : end + 1]).sum(0)
        softmax: Tensor = self.head(last.mean((2, 3)))
        strategies = {
            "goodness": torch.stack(layers[min(1, depth - 1) :]).sum(0),
            "pruned": pruned,
            "softmax": softmax,
            "ensemble": ((pruned.softmax(1) + softmax.softmax(1)) / 2).log(),
        }
        return Examination(strategies, layers, [g.mean() for g in layers])

    def parameters(self, strategy: str | None = None) -> Iterator[Tensor]:
        """The tensors that a strategy predicts with; without a strategy, all trained tensors."""
        if strategy in ("softmax", "ensemble"):
            for part in (*self.layers, self.head):
                yield from part.parameters()
        else:
            yield from super().parameters(strategy)


def _membership(coarse: Tensor) -> Tensor:
    """(N, groups): the share of each class in the mean of its coarse class."""
    member = F.one_hot(coarse).float()
    return member / member.sum(0)


class HCLFF:
    """The method as the harness registers it."""

    Settings: ClassVar[type[HCLFFSettings]] = HCLFFSettings
    strategies: ClassVar[tuple[str, ...]] = HCLFFLearner.strategies
    build: ClassVar[type[HCLFFLearner]] = HCLFFLearner
    small: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"plan": "10,M,20,20", "hierarchy": [[[0, 1, 2], [3, 4]], []], "learning_rate": 1e-2},
    )

    @staticmethod
    def published(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Rows of published.csv: of the published network."""
        return [("HCL-FF", "17-layer ResNet 1000 epochs")] if settings.get("plan") == "resnet17" else []

    between = staticmethod(DeeperForward.between)
    optimiser = staticmethod(DeeperForward.optimiser)
