"""Local error signals (Nøkland & Eidnes, ICML 2019, arXiv 1901.06656): every block has its own loss and read-out.

    block l:   h = activate(x)                               x is detached; next x = propagate(h)
    pred:      a = V average_pool(h),  L = CE(a, label)      V linear, trained, initially zero
    sim:       s = deviation over space of K * h             K a 3x3 convolution, trained; a linear map where h is flat;
                                                             s = K * h where a map has one pixel or h 3 channels
               R_h = cosines between the centred s of all pairs of the batch,   R_y = those of the labels, one-hot
               L = mean (R_h - R_y)^2
    predsim:   0.01 pred + 0.99 sim

After the last block a linear classifier is trained on its output by cross-entropy. The signals read h before dropout
and pooling. Shapes: B images, C channels, H x W pixels, N classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge, Gt, Lt
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
from asge.common.types import Examination, Neutral, TaskShape, TrainingBudget, refuse_without_effect
from asge.layers.pooling import Pooling
from baselines.stack import Hidden, Stack, Topology, between, is_vgg8b
from baselines.vgg import Activation, Dropout

Signal = Literal["pred", "sim", "predsim"]
Border = Literal["remainder", "zeros"]
COSINE_EPS = 1e-8
FEW_CHANNELS = 3
"""With this many channels or fewer, centring leaves almost nothing of their deviations."""


@settings_class
class LocalErrorSettings:
    """Settings of local errors. Nøkland & Eidnes' VGG8b: plan vgg8b, hidden [1024], 400 epochs of CIFAR-10.

    Attributes:
        signal: loss of a block, see above.
        similarity_weight: weight of sim in predsim.
        read_out_size: pred averages over windows until at most this many values are left; 1024 for 28 x 28 images.
        read_out_border: where windows do not fit a map, they average over the "remainder" at its end, or over a map
            padded with "zeros" on all sides, as in the authors' code.
        topology, plan, hidden, pooling, dropout, affine: see ``baselines.stack``. With topology "asge" the network is
            ASGE's; with pred each block then has a trained read-out of averages instead of ASGE's fixed one of the
            spatial goodness.
        activation: of topology "vgg"; default: the authors', relu for pred, leaky-relu for sim and predsim.
        optimiser, learning_rate, weight_decay, momentum, schedule: see ``asge.common.optimisers``; momentum is SGD's.
    """

    signal: Signal = "predsim"
    similarity_weight: Annotated[float, Gt(0), Lt(1)] = 0.99
    read_out_size: Annotated[int, Ge(1)] = 2048
    read_out_border: Annotated[Border, Neutral("remainder")] = "remainder"
    topology: Topology = "vgg"
    plan: str = "small"
    hidden: Hidden = ()
    pooling: Pooling = "max"
    activation: Activation | None = None
    dropout: Annotated[Dropout, Range(0, 0.3, step=0.1)] = 0.0
    affine: Annotated[bool, Neutral(False)] = False
    optimiser: OptimiserSetting = "adam"
    learning_rate: LearningRate = 5e-4
    weight_decay: WeightDecay = 0.0
    momentum: Momentum = 0.9
    schedule: ScheduleSetting = "milestones"


def read_out_windows(channels: int, height: int, width: int, limit: int) -> tuple[int, int]:
    """Sides of the window that pred averages over: doubled, height first, until at most ``limit`` values are left."""
    window = [1, 1]
    turn = 0

    def left() -> int:
        return channels * math.ceil(height / window[0]) * math.ceil(width / window[1])

    while left() > limit and (window[0] < height or window[1] < width):
        window[turn] *= 2
        turn = 1 - turn
    return window[0], window[1]


def similarity(features: Tensor) -> Tensor:
    """Cosines between all pairs of rows, each centred by its own mean: (B, D) -> (B, B)."""
    centred = features - features.mean(1, keepdim=True)
    normal = F.normalize(centred, eps=COSINE_EPS)
    cosines: Tensor = normal @ normal.T
    return cosines


class PredSignal(nn.Module):
    """Cross-entropy of a linear read-out of the averaged activations.

    Args:
        shape: (C, H, W) of h, or (D,) where it is flat.
        classes: N.
        read_out_size: maximum number of values read.
        border: see ``LocalErrorSettings``.
    """

    def __init__(self, shape: Sequence[int], classes: int, *, read_out_size: int, border: Border = "remainder") -> None:
        super().__init__()
        features = math.prod(shape)
        self.padding = (0, 0)
        self.window: tuple[int, int] | None = None
        if len(shape) == 3:
            channels, height, width = shape
            self.window = read_out_windows(channels, height, width, read_out_size)
            features = channels * math.ceil(height / self.window[0]) * math.ceil(width / self.window[1])
            if border == "zeros":
                rest = (height % self.window[0], width % self.window[1])
                self.padding = (self.window[0] // 2 if rest[0] else 0, self.window[1] // 2 if rest[1] else 0)
        self.read_out = nn.Linear(features, classes)
        nn.init.zeros_(self.read_out.weight)
        nn.init.zeros_(self.read_out.bias)

    def logits(self, h: Tensor) -> Tensor:
        """a: (B, C, H, W) or (B, D) -> (B, N)."""
        if self.window is not None:
            # With padding, the floor is the same number of windows; without it, the last ones are smaller.
            h = F.avg_pool2d(h, self.window, padding=self.padding, ceil_mode=self.padding == (0, 0))
        logits: Tensor = self.read_out(h.flatten(1))
        return logits

    def forward(self, h: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar."""
        return F.cross_entropy(self.logits(h), labels)


class SimSignal(nn.Module):
    """The similarity loss: samples of one class shall look alike, samples of different classes shall not.

    Args:
        shape: (C, H, W) of h, or (D,) where it is flat.
        classes: N.
        generator: draws the first weights.
    """

    def __init__(self, shape: Sequence[int], classes: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.classes = classes
        width = shape[0]
        self.transform: nn.Conv2d | nn.Linear
        if len(shape) == 3:
            self.transform = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        else:
            self.transform = nn.Linear(width, width, bias=False)
        nn.init.kaiming_uniform_(self.transform.weight, a=math.sqrt(5), generator=generator)

    def forward(self, h: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar."""
        features = self.transform(h)
        if features.dim() == 4:
            deviates = features.shape[1] > FEW_CHANNELS and features[0, 0].numel() > 1
            features = features.flatten(2).std(2) if deviates else features.flatten(1)
        of_labels = similarity(F.one_hot(labels, self.classes).to(features.dtype))
        return F.mse_loss(similarity(features), of_labels)


class LocalError(nn.Module):
    """The loss of one block: pred, sim, or their weighted sum.

    Args:
        shape: (C, H, W) of h, or (D,) where it is flat.
        classes: N.
        settings: signal, its weight, and the size of pred's read-out.
        generator: draws the first weights.
    """

    def __init__(
        self, shape: Sequence[int], classes: int, settings: LocalErrorSettings, *, generator: torch.Generator
    ) -> None:
        super().__init__()
        sim_weight = {"pred": 0.0, "sim": 1.0, "predsim": settings.similarity_weight}[settings.signal]
        self.sim_weight = sim_weight
        size, border = settings.read_out_size, settings.read_out_border
        self.pred = PredSignal(shape, classes, read_out_size=size, border=border) if sim_weight < 1 else None
        self.sim = SimSignal(shape, classes, generator=generator) if sim_weight > 0 else None

    def forward(self, h: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar, of h for one batch and labels (B,) int64."""
        loss = torch.zeros((), device=h.device)
        if self.pred is not None:
            loss = loss + (1 - self.sim_weight) * self.pred(h, labels)
        if self.sim is not None:
            loss = loss + self.sim_weight * self.sim(h, labels)
        return loss


class LocalErrorLearner:
    """Trains a network block by block within one forward pass, each block by its own loss."""

    strategies = ("logits",)

    def __init__(
        self,
        task: TaskShape,
        settings: LocalErrorSettings,
        budget: TrainingBudget,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        self.network = Stack(task.shape, task.classes, _with_activation(settings), generator=generator)
        shapes = self.network.activation_shapes
        self.errors = [LocalError(shape, task.classes, settings, generator=generator) for shape in shapes]
        self._modules = nn.ModuleList([self.network, *self.errors])
        self._modules.to(device).to(memory_format=torch.channels_last)
        self.on_layer: Callable[[], None] | None = None
        trained = [
            [*block.parameters(), *error.parameters()]
            for block, error in zip(self.network.blocks, self.errors, strict=True)
        ]
        steps = budget.epochs * budget.steps_per_epoch
        self._optimisers = [
            ScheduledOptimiser(parameters, settings, steps)
            for parameters in [*trained, [*self.network.classifier.parameters()]]
        ]

    def begin_epoch(self, epoch: int) -> None:
        """Nothing to do: the schedules count steps."""

    def train_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One step of every block, then of the classifier, on images (B, C, H, W) float and labels (B,) int64.

        Returns:
            Detached scalar losses: ``layer1`` .. ``layerL`` and ``classifier``.
        """
        self._modules.train()
        losses: dict[str, Tensor] = {}
        x = images.contiguous(memory_format=torch.channels_last)
        for index, (block, error) in enumerate(zip(self.network.blocks, self.errors, strict=True)):
            h = block.activate(x)
            losses[f"layer{index + 1}"] = self._learn(index, error(h, labels))
            h = h.detach()
            if index + 1 < len(self.errors):
                x = block.propagate(h)
                del h  # free it before the next block runs
            if self.on_layer is not None:
                self.on_layer()
        losses["classifier"] = self._learn(-1, F.cross_entropy(self.network.classify(h), labels))
        return losses

    def finish(self, validation: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Nothing to choose."""

    @torch.no_grad()
    def predict(self, images: Tensor, strategy: str) -> Tensor:
        """Logits (B, N) of the classifier; the only strategy is `logits`."""
        if strategy != "logits":
            raise ValueError(f"strategy must be logits, got {strategy!r}")
        self._modules.eval()
        logits: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return logits

    def parameters(self, strategy: str | None = None) -> Iterator[Tensor]:
        """The tensors that a strategy predicts with; without a strategy, all trained tensors."""
        return self._modules.parameters() if strategy is None else self.network.parameters()

    def state_dict(self) -> dict[str, Any]:
        """Blocks, read-outs, classifier, optimisers and schedules."""
        return {
            "modules": self._modules.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a ``state_dict``."""
        self._modules.load_state_dict(state["modules"])
        for optimiser, kept in zip(self._optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)

    def _learn(self, index: int, loss: Tensor) -> Tensor:
        loss.backward()
        self._optimisers[index].step()
        self._optimisers[index].zero_grad()
        return loss.detach()


class PredictingLearner(LocalErrorLearner):
    """A learner whose blocks each have a read-out, and so can predict."""

    @torch.no_grad()
    def layer_logits(self, images: Tensor) -> list[Tensor]:
        """Every block's own logits, (B, N) each."""
        return self._pass(images)[0]

    @torch.no_grad()
    def examine(self, images: Tensor) -> Examination:
        """Results of ``predict`` and ``layer_logits`` from a single forward pass."""
        layers, last = self._pass(images)
        return Examination(strategies={"logits": self.network.classify(last)}, layers=layers, goodness=[])

    def _pass(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Every block's own logits, and the last h."""
        self._modules.eval()
        read_outs = [error.pred for error in self.errors if error.pred is not None]
        layers = []
        activations = self.network.activations(images.contiguous(memory_format=torch.channels_last))
        for read_out, h in zip(read_outs, activations, strict=True):
            layers.append(read_out.logits(h))
            last = h
        return layers, last


def _with_activation(settings: LocalErrorSettings) -> Any:
    """The settings, with the authors' activation if none is given."""
    authors: Activation = "relu" if settings.signal == "pred" or settings.topology == "asge" else "leaky-relu"
    return replace(settings, activation=settings.activation or authors)


def build(
    task: TaskShape,
    settings: LocalErrorSettings,
    budget: TrainingBudget,
    device: torch.device,
    generator: torch.Generator,
) -> LocalErrorLearner:
    """Make a learner; with sim alone, its blocks cannot predict.

    Raises:
        ValueError: if a setting has no effect, or settings and task do not fit.
    """
    because = f"signal {settings.signal!r}"
    refuse_without_effect(settings, [] if settings.signal == "predsim" else ["similarity_weight"], because)
    refuse_without_effect(settings, ["read_out_size", "read_out_border"] if settings.signal == "sim" else [], because)
    learner = LocalErrorLearner if settings.signal == "sim" else PredictingLearner
    return learner(task, settings, budget, device, generator)


class LocalErrors:
    """The method as the harness registers it."""

    Settings: ClassVar[type[LocalErrorSettings]] = LocalErrorSettings
    strategies: ClassVar[tuple[str, ...]] = LocalErrorLearner.strategies
    build = staticmethod(build)
    small: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"plan": "8,M,16"},
        {"signal": "pred", "topology": "asge", "plan": "8,M,16", "affine": True},
        {"signal": "sim", "plan": "8,M,16", "hidden": [12], "dropout": 0.2},
    )

    @staticmethod
    def published(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Rows of published.csv: VGG8b's."""
        row = f"local-error {settings.get('signal')}"
        return [(row, "VGG8b augmented"), (row, "VGG8b")] if is_vgg8b(settings) else []

    @staticmethod
    def between(settings: Mapping[str, Any]) -> str:
        """Describe, in words, the layers between the convolutions."""
        return between(
            settings, settings.get("activation") or ("relu" if settings.get("signal") == "pred" else "leaky ReLU")
        )

    @staticmethod
    def optimiser(settings: Mapping[str, Any]) -> str:
        """Describe the optimiser, in words."""
        return optimiser_in_words(settings)
