"""FF, the Forward-Forward algorithm (Hinton 2022, arXiv 2212.13345).

    x^0 = image with a one-hot label                                positive: true label, negative: a wrong one
    h^l = ReLU(W_l norm(x^{l-1}) + b_l),   x^l = h^l                only the direction of x^{l-1} is passed on
    G^l = sum_j (h^l_j)^2                                           goodness, before normalisation
    p(positive) = sigmoid(G^l - theta),   theta = width of the layer
    L^l = -log p(positive) on positive data - log(1 - p(positive)) on negative data

Each layer learns from its own L^l; its input is detached. The network is Hinton's perceptron, with the label in the
first N values of the image, or a stack of convolutions, with the label in N more planes: see
``baselines.forward_forward_bodies``. Shapes: B images, N classes, D values of a flat image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge, Gt, Lt, MinLen
from torch import Tensor, nn

from asge.common.marks import Range
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
from asge.common.tensors import at_least_float32, one_hot
from asge.common.types import Examination, Neutral, TaskShape, TrainingBudget, refuse_without_effect
from asge.layers.pooling import Pooling
from baselines.forward_forward_bodies import Body, Convolutions, Perceptron

ELEMENTS = 2**26
"""Most activations of a layer, under all labels, that are held at once (about)."""


@settings_class
class ForwardForwardSettings:
    """Settings of FF.

    Attributes:
        hidden: widths of the hidden layers, at least two (the first one is not used for prediction).
        plan: empty for the perceptron; else a channel plan of convolutions, see ``asge.network.parse_plan``;
            ``hidden`` is then left at its default.
        pooling: between convolutions, see ``asge.pooling.pool2d``.
        goodness: "sum" of the squares of a layer, or their "mean" (theta is then divided by the width too).
        threshold: theta as a multiple of the layer's width.
        negatives: how wrong labels are drawn: "uniform", or "hard": by the probabilities of the softmax prediction
            without the true label.
        loss: goodness of true labels above a "threshold" and of wrong ones below it; or above that of a wrong label, as
            in SymBa (arXiv 2303.08418): mean of softplus(-symba_scale (G of the true one - G of the wrong one)).
        symba_scale: see there.
        label: of convolutions: "planes", one per class, or a "pattern" per class in one plane, as in SymBa.
        label_value: value of the hot label in the image; the others are 0. The neutral label is label_value / N.
        peer_normalization: weight of the loss that keeps every unit's mean activity near the layer's mean.
        peer_momentum: of the running mean activity.
        halves: a layer's loss is the "sum" of its means over positive and negative data, or the "mean" of the two, as
            over one batch of both: half as much, beside the peer loss and for SGD's rate.
        relu: its gradient is 0 where it is closed ("exact"), or passes as through the identity ("passing"), so that
            the peer loss reaches units that are never active.
        head_learning_rate: of the linear layer of the softmax prediction; null for ``learning_rate``.
        head_weight_decay: likewise; null for ``weight_decay``.
        optimiser, learning_rate, weight_decay, momentum, schedule: see ``asge.common.optimisers``; momentum is SGD's.
    """

    hidden: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(2)] = (500, 500, 500)
    plan: str = ""
    pooling: Pooling = "rms"
    goodness: Literal["sum", "mean"] = "sum"
    threshold: Annotated[float, Gt(0), Range(0.25, 4, log=True)] = 1.0
    loss: Annotated[Literal["threshold", "symba"], Neutral("threshold")] = "threshold"
    symba_scale: Annotated[float, Gt(0), Neutral(4.0)] = 4.0
    label: Annotated[Literal["planes", "pattern"], Neutral("planes")] = "planes"
    label_value: Annotated[float, Gt(0)] = 1.0
    negatives: Literal["uniform", "hard"] = "uniform"
    peer_normalization: Annotated[float, Ge(0), Range(1e-3, 1, log=True)] = 0.03
    peer_momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    halves: Annotated[Literal["sum", "mean"], Neutral("sum")] = "sum"
    relu: Annotated[Literal["exact", "passing"], Neutral("exact")] = "exact"
    head_learning_rate: Annotated[Annotated[float, Gt(0)] | None, Neutral(None)] = None
    head_weight_decay: Annotated[Annotated[float, Ge(0)] | None, Neutral(None)] = None
    optimiser: OptimiserSetting = "adamw"
    learning_rate: LearningRate = 1e-3
    weight_decay: WeightDecay = 3e-4
    momentum: Momentum = 0.9
    schedule: ScheduleSetting = "flat-linear"


def wrong_labels(labels: Tensor, classes: int, generator: torch.Generator) -> Tensor:
    """Draw a wrong label per sample, uniformly: (B,) int64 -> (B,) int64."""
    offset = torch.randint(1, classes, labels.shape, generator=generator).to(labels.device)
    return (labels + offset) % classes


def hard_labels(labels: Tensor, logits: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a wrong label per sample by the softmax of its logits (B, N): (B,) int64 -> (B,) int64."""
    # A diverged run must show in its losses, not as an error here.
    chances = logits.softmax(1).nan_to_num(1.0).clamp_min(torch.finfo(logits.dtype).tiny)
    others = chances.scatter(1, labels[:, None], 0.0)
    return torch.multinomial(others.cpu(), 1, generator=generator)[:, 0].to(labels.device)


def _summed(layers: list[Tensor]) -> Tensor:
    """Goodness summed over all but the first layer, (B, N) each -> (B, N)."""
    return torch.stack(layers[1:]).sum(0)


class ForwardForwardLearner:
    """Trains a network whose layers learn to be active on true labels and quiet on wrong ones."""

    strategies = ("goodness", "softmax")

    def __init__(
        self,
        task: TaskShape,
        settings: ForwardForwardSettings,
        budget: TrainingBudget,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        if task.classes < 2:
            raise ValueError(f"FF learns from wrong labels: it needs two classes at least, got {task.classes}")
        if settings.plan:
            refuse_without_effect(settings, ["hidden"], f"plan {settings.plan!r}")
        else:
            refuse_without_effect(settings, ["pooling", "label"], "a perceptron")
        of_other = ["threshold", "halves"] if settings.loss == "symba" else ["symba_scale"]
        refuse_without_effect(settings, of_other, f"loss {settings.loss!r}")
        if not settings.peer_normalization:
            refuse_without_effect(settings, ["peer_momentum"], "peer_normalization 0")
        self.classes = task.classes
        self.settings = settings
        self._generator = generator
        self.body: Body
        if settings.plan:
            self.body = Convolutions(
                task.shape,
                task.classes,
                settings.plan,
                pooling=settings.pooling,
                patterned=settings.label == "pattern",
                generator=generator,
            )
        else:
            self.body = Perceptron(task.shape, task.classes, settings.hidden, generator=generator)
        self.body.passing = settings.relu == "passing"
        self.read_out = nn.Linear(sum(self.body.feature_counts[1:]), task.classes, bias=False)
        nn.init.zeros_(self.read_out.weight)
        self.body.to(device)
        self.read_out.to(device)
        self.on_layer: Callable[[], None] | None = None
        hard = "hard negatives are labels that the whole network predicts: no gradient, but a way back"
        self.way_back = hard if settings.negatives == "hard" else None
        self._mean_activity = [torch.full((units,), 0.5, device=device) for units in self.body.unit_counts]
        steps = budget.epochs * budget.steps_per_epoch
        body, head = self.body.parameters(), self.read_out.parameters()
        self._optimiser = ScheduledOptimiser.with_head(
            body, head, settings, steps, settings.head_learning_rate, settings.head_weight_decay
        )

    def begin_epoch(self, epoch: int) -> None:
        """Nothing to do: the schedule counts steps."""

    def train_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One step, with a positive, a negative and a neutral pass, on images (B, C, H, W) float and labels (B,) int64.

        Returns:
            Detached scalar losses: ``layer1`` .. ``layerL`` (with peer normalisation) and ``softmax``.
        """
        self._optimiser.zero_grad()
        losses: dict[str, Tensor] = {}
        batch, settings = len(images), self.settings
        wrong = self._wrong(images, labels)
        x = torch.cat([self.body.labelled(images, self._hot(labels)), self.body.labelled(images, self._hot(wrong))])
        for index in range(len(self.body.layers)):
            h = self.body.activate(index, x)
            loss = self._loss(self._goodness(h), h[0].numel())
            if settings.peer_normalization:
                loss = loss + settings.peer_normalization * self._peer_loss(index, h[:batch])
            loss.backward()
            losses[f"layer{index + 1}"] = loss.detach()
            x = self.body.propagate(index, h.detach())
            del h  # free them before the next layer runs
            if self.on_layer is not None:
                self.on_layer()
        loss = F.cross_entropy(self._softmax_logits(images), labels)
        loss.backward()
        losses["softmax"] = loss.detach()
        self._optimiser.step()
        return losses

    def finish(self, validation: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Nothing to choose."""

    @torch.no_grad()
    def predict(self, images: Tensor, strategy: str) -> Tensor:
        """Logits (B, N) of a strategy.

        ``goodness``: goodness summed over all but the first layer, under each label, all labels in one pass.
        ``softmax``: one pass with the neutral label, then a linear layer on the normalised activities.
        """
        if strategy == "goodness":
            return _summed(self.layer_logits(images))
        if strategy == "softmax":
            return self._softmax_logits(images)
        raise ValueError(f"strategy must be one of {', '.join(self.strategies)}, got {strategy!r}")

    @torch.no_grad()
    def layer_logits(self, images: Tensor) -> list[Tensor]:
        """Goodness of each layer under each label, (B, N) per layer, in chunks of images where maps are large."""
        count = max(1, ELEMENTS // (self.classes * self.body.largest))
        parts = [self._layer_logits(part) for part in images.split(count)]
        return [torch.cat(by_part) for by_part in zip(*parts, strict=True)]

    @torch.no_grad()
    def layer_goodness(self, images: Tensor) -> list[Tensor]:
        """Mean of h^2 over images and units under the neutral label, a scalar per layer."""
        return [h.square().mean() for h in self._activities(self.body.labelled(images, self._neutral(images.device)))]

    @torch.no_grad()
    def examine(self, images: Tensor) -> Examination:
        """Results of ``predict``, ``layer_logits`` and ``layer_goodness``, with one pass under all labels."""
        layers = self.layer_logits(images)
        return Examination(
            strategies={"goodness": _summed(layers), "softmax": self._softmax_logits(images)},
            layers=layers,
            goodness=self.layer_goodness(images),
        )

    def parameters(self, strategy: str | None = None) -> Iterator[Tensor]:
        """The tensors that a strategy predicts with; without a strategy, all tensors."""
        yield from self.body.parameters()
        if strategy != "goodness":
            yield from self.read_out.parameters()

    def state_dict(self) -> dict[str, Any]:
        """Layers, read-out, running mean activities, optimiser and schedule."""
        return {
            "body": self.body.state_dict(),
            "read_out": self.read_out.state_dict(),
            "mean_activity": self._mean_activity,
            "optimiser": self._optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a ``state_dict``."""
        self.body.load_state_dict(state["body"])
        self.read_out.load_state_dict(state["read_out"])
        self._mean_activity = [
            mean.to(old.device) for mean, old in zip(state["mean_activity"], self._mean_activity, strict=True)
        ]
        self._optimiser.load_state_dict(state["optimiser"])

    def _hot(self, labels: Tensor) -> Tensor:
        return one_hot(labels, self.classes) * self.settings.label_value

    def _neutral(self, device: torch.device) -> Tensor:
        return torch.full((self.classes,), self.settings.label_value / self.classes, device=device)

    def _wrong(self, images: Tensor, labels: Tensor) -> Tensor:
        if self.settings.negatives == "uniform":
            return wrong_labels(labels, self.classes, self._generator)
        with torch.no_grad():
            return hard_labels(labels, self._softmax_logits(images), self._generator)

    def _goodness(self, h: Tensor) -> Tensor:
        squares = at_least_float32(h).flatten(1).square()
        return squares.sum(1) if self.settings.goodness == "sum" else squares.mean(1)

    def _loss(self, goodness: Tensor, width: int) -> Tensor:
        """A layer's loss without the peers', from goodness (2 B,) under true labels, then wrong ones."""
        settings = self.settings
        if settings.loss == "symba":
            true, wrong = goodness.chunk(2)
            return F.softplus(-settings.symba_scale * (true - wrong)).mean()
        theta = settings.threshold * (width if settings.goodness == "sum" else 1)
        true, wrong = (goodness - theta).chunk(2)
        loss = F.softplus(-true).mean() + F.softplus(wrong).mean()
        return loss / 2 if settings.halves == "mean" else loss

    def _activities(self, x: Tensor) -> Iterator[Tensor]:
        """The h of every layer for a labelled x, one at a time."""
        return self._activities_from(self.body.activate(0, x))

    def _activities_from(self, h: Tensor) -> Iterator[Tensor]:
        """The h of every layer, given the first, one at a time."""
        yield h
        for index in range(1, len(self.body.layers)):
            h = self.body.activate(index, self.body.propagate(index - 1, h))
            yield h

    def _layer_logits(self, images: Tensor) -> list[Tensor]:
        # The first h has no name here: it is gone when the third layer runs.
        activities = self._activities_from(self.body.activate_under_all(images, self.settings.label_value))
        return [self._goodness(h).view(len(images), self.classes) for h in activities]

    def _softmax_logits(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            activities = self._activities(self.body.labelled(images, self._neutral(images.device)))
            by_layer = [self.body.features(h) for index, h in enumerate(activities) if index > 0]
            features = torch.cat(by_layer, dim=1)
        logits: Tensor = self.read_out(features)
        return logits

    def _peer_loss(self, index: int, positive: Tensor) -> Tensor:
        """Squared deviation of each unit's running mean activity from the layer's; the gradient is the batch's."""
        momentum = self.settings.peer_momentum
        mean = momentum * self._mean_activity[index] + (1 - momentum) * self.body.mean_activity(positive)
        self._mean_activity[index] = mean.detach()
        return (mean - mean.mean()).square().mean()


class ForwardForward:
    """The method as the harness registers it."""

    Settings: ClassVar[type[ForwardForwardSettings]] = ForwardForwardSettings
    strategies: ClassVar[tuple[str, ...]] = ForwardForwardLearner.strategies
    build: ClassVar[type[ForwardForwardLearner]] = ForwardForwardLearner
    small: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"hidden": [32, 32]},
        {"plan": "8,M,16", "negatives": "hard", "goodness": "mean", "learning_rate": 1e-2},
        {"plan": "8,M,16", "goodness": "mean", "loss": "symba", "label": "pattern", "learning_rate": 1e-2},
    )

    @staticmethod
    def published(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Rows of published.csv: a public implementation's for three layers of 1000, else Hinton's; no convolutions."""
        if settings.get("plan"):
            return []
        small = list(settings.get("hidden", ())) == [1000] * 3
        return [("FF", "3x1000 public implementation" if small else "supervised 4x2000")]

    @staticmethod
    def between(settings: Mapping[str, Any]) -> str:
        """Describe, in words, the layers between the linear or convolutional ones."""
        pooling = f"{settings.get('pooling')} pooling, " if settings.get("plan") else ""
        return f"ReLU, {pooling}length normalisation"

    @staticmethod
    def optimiser(settings: Mapping[str, Any]) -> str:
        """Describe the optimiser, in words."""
        return optimiser_in_words(settings, "head")
