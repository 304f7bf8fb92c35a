"""FF, the Forward-Forward algorithm, on a multi-layer perceptron (Hinton 2022, arXiv 2212.13345).

    x^0 = image with a one-hot label in its first N values          positive: true label, negative: a wrong one
    h^l = ReLU(W_l norm(x^{l-1}) + b_l),   x^l = h^l                only the direction of x^{l-1} passes
    G^l = sum_j (h^l_j)^2                                           goodness, before normalisation
    p(positive) = sigmoid(G^l - theta),   theta = width of the layer
    L^l = -log p(positive) on positive data - log(1 - p(positive)) on negative data

Each layer learns from its own L^l; its input is detached. Shapes: B images, N classes, D values of a flat image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge, Gt, Lt, MinLen
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asge.optim import LearningRate, Momentum, OptimiserName, ScheduledOptimiser, ScheduleName, WeightDecay
from asge.types import TaskShape, TrainingBudget

NORM_EPS = 1e-8


@dataclass(frozen=True, kw_only=True)
class ForwardForwardSettings:
    """Settings of FF.

    Attributes:
        hidden: widths of the hidden layers, at least two (the first one does not predict).
        threshold: theta as a multiple of the layer's width.
        label_value: value of the hot label in the image; the others are 0. The neutral label is label_value / N.
        peer_normalization: weight of the loss that keeps every unit's mean activity near the layer's mean.
        peer_momentum: of the running mean activity.
        optimiser, learning_rate, weight_decay, momentum, schedule: see ``asge.optim``; momentum is SGD's.
    """

    hidden: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(2)] = (500, 500, 500)
    threshold: Annotated[float, Gt(0)] = 1.0
    label_value: Annotated[float, Gt(0)] = 1.0
    peer_normalization: Annotated[float, Ge(0)] = 0.03
    peer_momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    optimiser: OptimiserName = "adamw"
    learning_rate: LearningRate = 1e-3
    weight_decay: WeightDecay = 3e-4
    momentum: Momentum = 0.9
    schedule: ScheduleName = "flat-linear"


def normalize_length(x: Tensor) -> Tensor:
    """Each row divided by its root mean square: (B, D) -> (B, D), every row of length sqrt(D)."""
    return x / (x.square().mean(1, keepdim=True).sqrt() + NORM_EPS)


def overlay(flat: Tensor, label: Tensor) -> Tensor:
    """Images (B, D) whose first N values are replaced by ``label`` (B, N) or (N,); the input stays as it is."""
    out = flat.clone()
    out[:, : label.shape[-1]] = label
    return out


def wrong_labels(labels: Tensor, classes: int, generator: torch.Generator) -> Tensor:
    """A label per sample, uniform over the classes other than its own: (B,) int64 -> (B,) int64."""
    offset = torch.randint(1, classes, labels.shape, generator=generator).to(labels.device)
    return (labels + offset) % classes


class ForwardForwardLearner:
    """A perceptron whose layers learn to be active on true labels and quiet on wrong ones."""

    strategies = ("goodness", "softmax")

    def __init__(
        self,
        task: TaskShape,
        settings: ForwardForwardSettings,
        budget: TrainingBudget,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        channels, height, width = task.shape
        if channels * height * width <= task.classes:
            raise ValueError(f"FF writes {task.classes} label values into images of {channels * height * width} values")
        self.classes = task.classes
        self.settings = settings
        self._generator = generator
        self.layers = nn.ModuleList()
        inputs = channels * height * width
        for units in settings.hidden:
            layer = nn.Linear(inputs, units)
            nn.init.normal_(layer.weight, std=units**-0.5, generator=generator)
            nn.init.zeros_(layer.bias)
            self.layers.append(layer)
            inputs = units
        self.read_out = nn.Linear(sum(settings.hidden[1:]), task.classes, bias=False)
        nn.init.zeros_(self.read_out.weight)
        self.layers.to(device)
        self.read_out.to(device)
        self.on_layer: Callable[[], None] | None = None
        self._mean_activity = [torch.full((units,), 0.5, device=device) for units in settings.hidden]
        self._optimiser = ScheduledOptimiser(
            [*self.layers.parameters(), *self.read_out.parameters()],
            settings,
            total_steps=budget.epochs * budget.steps_per_epoch,
        )

    def begin_epoch(self, epoch: int) -> None:
        """Nothing to do: the schedule counts steps."""

    def train_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Positive, negative and neutral pass over images (B, C, H, W) float, labels (B,) int64.

        Returns:
            Detached scalar losses: ``layer1`` .. ``layerL`` (with peer normalisation) and ``softmax``.
        """
        self._optimiser.zero_grad()
        losses: dict[str, Tensor] = {}
        flat, batch = images.flatten(1), len(images)
        wrong = wrong_labels(labels, self.classes, self._generator)
        x = torch.cat([overlay(flat, self._hot(labels)), overlay(flat, self._hot(wrong))])
        for index, layer in enumerate(self.layers):
            h = F.relu(layer(normalize_length(x)))
            margin = h.square().sum(1) - self.settings.threshold * h.shape[1]
            loss = F.softplus(-margin[:batch]).mean() + F.softplus(margin[batch:]).mean()
            if self.settings.peer_normalization:
                loss = loss + self.settings.peer_normalization * self._peer_loss(index, h[:batch])
            loss.backward()
            losses[f"layer{index + 1}"] = loss.detach()
            x = h.detach()
            if self.on_layer is not None:
                self.on_layer()
        loss = F.cross_entropy(self._softmax_logits(flat), labels)
        loss.backward()
        losses["softmax"] = loss.detach()
        self._optimiser.step()
        return losses

    def finish(self, validation: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Nothing to choose."""

    @torch.no_grad()
    def predict(self, images: Tensor, strategy: str) -> Tensor:
        """Logits (B, N).

        ``goodness``: the summed goodness of all but the first layer under each label, all labels in one pass.
        ``softmax``: one pass with the neutral label, a linear layer on the normalised activities.
        """
        if strategy == "goodness":
            return torch.stack(self.layer_logits(images)[1:]).sum(0)
        if strategy == "softmax":
            return self._softmax_logits(images.flatten(1))
        raise ValueError(f"strategy must be one of {', '.join(self.strategies)}, got {strategy!r}")

    @torch.no_grad()
    def layer_logits(self, images: Tensor) -> list[Tensor]:
        """Goodness of each layer under each label, (B, N) per layer."""
        flat = images.flatten(1)
        x = overlay(
            flat.repeat_interleave(self.classes, 0),
            self.settings.label_value * torch.eye(self.classes, device=flat.device).repeat(len(flat), 1),
        )
        return [h.square().sum(1).view(len(flat), self.classes) for h in self._activities(x)]

    @torch.no_grad()
    def layer_goodness(self, images: Tensor) -> list[Tensor]:
        """Mean G^l per unit, under the neutral label: h^2 over images and units, of every layer."""
        return [h.square().mean() for h in self._activities(overlay(images.flatten(1), self._neutral(images.device)))]

    def parameters(self, strategy: str | None = None) -> Iterator[Tensor]:
        """The tensors that a strategy predicts with; without one, all of them."""
        yield from self.layers.parameters()
        if strategy != "goodness":
            yield from self.read_out.parameters()

    def state_dict(self) -> dict[str, Any]:
        """Layers, read-out, running mean activities, optimiser and schedule."""
        return {
            "layers": self.layers.state_dict(),
            "read_out": self.read_out.state_dict(),
            "mean_activity": self._mean_activity,
            "optimiser": self._optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken."""
        self.layers.load_state_dict(state["layers"])
        self.read_out.load_state_dict(state["read_out"])
        self._mean_activity = [
            mean.to(old.device) for mean, old in zip(state["mean_activity"], self._mean_activity, strict=True)
        ]
        self._optimiser.load_state_dict(state["optimiser"])

    def _hot(self, labels: Tensor) -> Tensor:
        return F.one_hot(labels, self.classes).float() * self.settings.label_value

    def _neutral(self, device: torch.device) -> Tensor:
        return torch.full((self.classes,), self.settings.label_value / self.classes, device=device)

    def _activities(self, x: Tensor) -> list[Tensor]:
        activities = []
        for layer in self.layers:
            x = F.relu(layer(normalize_length(x)))
            activities.append(x)
        return activities

    def _softmax_logits(self, flat: Tensor) -> Tensor:
        with torch.no_grad():
            activities = self._activities(overlay(flat, self._neutral(flat.device)))
            features = torch.cat([normalize_length(h) for h in activities[1:]], dim=1)
        logits: Tensor = self.read_out(features)
        return logits

    def _peer_loss(self, index: int, positive: Tensor) -> Tensor:
        """Squared deviation of each unit's running mean activity from the layer's; the gradient is the batch's."""
        momentum = self.settings.peer_momentum
        mean = momentum * self._mean_activity[index] + (1 - momentum) * positive.mean(0)
        self._mean_activity[index] = mean.detach()
        return (mean - mean.mean()).square().mean()


class ForwardForward:
    """The method as the harness finds it."""

    Settings: ClassVar[type[ForwardForwardSettings]] = ForwardForwardSettings
    strategies: ClassVar[tuple[str, ...]] = ForwardForwardLearner.strategies
    published: ClassVar[tuple[str, str]] = ("FF", "supervised 4x2000")
    build: ClassVar[type[ForwardForwardLearner]] = ForwardForwardLearner
