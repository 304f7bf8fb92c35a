"""Local error signals (Nøkland & Eidnes, ICML 2019, arXiv 1901.06656): every block has its own loss and read-out.

    block l:   h = activate(x)               x is detached; next x = propagate(h)
    pred:      cross-entropy of a trained linear read-out of h
    sim:       images of a class shall have similar h, images of different classes shall not
    predsim:   0.01 pred + 0.99 sim

``baselines.local_error_signals`` has their mathematics. They read h before dropout and pooling. After the last block a
linear classifier is trained on its output by cross-entropy. Predictions:

    logits     the classifier
    best       the read-out of the block that was most accurate on validation data; later blocks are not run

Shapes: B images, C channels, H x W pixels, N classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from asge.common.best_layer import most_accurate, most_accurate_layer
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
from baselines.local_error_signals import Border, LocalError
from baselines.stack import Hidden, Stack, Topology, between, is_vgg8b
from baselines.vgg import Activation, Dropout

Signal = Literal["pred", "sim", "predsim"]
Head = Literal["flat", "pooled"]


@settings_class
class LocalErrorSettings:
    """Settings of local errors. Nøkland & Eidnes' VGG8b: plan vgg8b, hidden [1024], 400 epochs of CIFAR-10.

    Attributes:
        signal: loss of a block, see above.
        similarity_weight: weight of sim in predsim.
        read_out_size: pred averages over windows until at most this many values are left; 1024 for 28 x 28 images.
        read_out_border: where windows do not fit a map, they average over the "remainder" at its end, or over a map
            padded with "zeros" on all sides, as in the authors' code.
        head: the classifier reads the last block's whole output ("flat"), as the authors' does, or its h averaged over
            every map ("pooled"), as ASGE's strategy `last` does.
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
    head: Annotated[Head, Neutral("flat")] = "flat"
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


class LocalErrorLearner:
    """Trains a network block by block within one forward pass, each block by its own loss."""

    strategies: tuple[str, ...] = ("logits",)

    def __init__(
        self,
        task: TaskShape,
        settings: LocalErrorSettings,
        budget: TrainingBudget,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        complete, pooled = _with_activation(settings), settings.head == "pooled"
        self.network = Stack(task.shape, task.classes, complete, pooled=pooled, generator=generator)
        self.errors = [
            LocalError(
                shape,
                task.classes,
                sim_weight={"pred": 0.0, "sim": 1.0, "predsim": settings.similarity_weight}[settings.signal],
                read_out_size=settings.read_out_size,
                border=settings.read_out_border,
                generator=generator,
            )
            for shape in self.network.activation_shapes
        ]
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
    """A learner whose blocks each have a read-out, and so can predict.

    Attributes:
        best_layer: index of the block that `best` predicts with.
    """

    strategies: tuple[str, ...] = ("logits", "best")

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._read_outs = [error.pred for error in self.errors if error.pred is not None]
        self.best_layer = len(self._read_outs) - 1

    def finish(self, validation: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Choose the block of `best`, see ``asge.common.best_layer``."""
        self.best_layer = most_accurate_layer(self.layer_logits, validation)

    def choose_layer(self, accuracies: Sequence[float]) -> dict[str, float]:
        """Choose the block as ``finish`` would, from all layers' validation accuracies; returns that of `best`."""
        self.best_layer = most_accurate(accuracies)
        return {"best": accuracies[self.best_layer]}

    @torch.no_grad()
    def predict(self, images: Tensor, strategy: str) -> Tensor:
        """Logits (B, N): of the classifier (`logits`), or of the chosen block's read-out (`best`)."""
        if strategy != "best":
            return super().predict(images, strategy)
        self._modules.eval()
        activations = self.network.activations(images.contiguous(memory_format=torch.channels_last))
        for h in itertools.islice(activations, self.best_layer + 1):
            last = h
        return self._read_outs[self.best_layer].logits(last)

    @torch.no_grad()
    def layer_logits(self, images: Tensor) -> list[Tensor]:
        """Every block's own logits, (B, N) each."""
        return self._pass(images)[0]

    @torch.no_grad()
    def examine(self, images: Tensor) -> Examination:
        """Results of ``predict`` and ``layer_logits`` from a single forward pass."""
        layers, last = self._pass(images)
        strategies = {"logits": self.network.classify(last), "best": layers[self.best_layer]}
        return Examination(strategies=strategies, layers=layers, goodness=[])

    def parameters(self, strategy: str | None = None) -> Iterator[Tensor]:
        """The tensors that a strategy predicts with; without a strategy, all trained tensors."""
        if strategy != "best":
            yield from super().parameters(strategy)
            return
        for block in self.network.blocks[: self.best_layer + 1]:
            yield from block.parameters()
        yield from self._read_outs[self.best_layer].parameters()

    def state_dict(self) -> dict[str, Any]:
        """Blocks, read-outs, classifier, optimisers, schedules, and the block that was chosen."""
        return {**super().state_dict(), "best_layer": self.best_layer}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a ``state_dict``."""
        super().load_state_dict(state)
        self.best_layer = state["best_layer"]

    def _pass(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Every block's own logits, and the last h."""
        self._modules.eval()
        layers = []
        activations = self.network.activations(images.contiguous(memory_format=torch.channels_last))
        for read_out, h in zip(self._read_outs, activations, strict=True):
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
    """Make a learner.

    Raises:
        ValueError: if a setting has no effect, or settings and task do not fit.
    """
    because = f"signal {settings.signal!r}"
    refuse_without_effect(settings, ["similarity_weight"], because, when=settings.signal != "predsim")
    refuse_without_effect(settings, ["read_out_size", "read_out_border"], because, when=settings.signal == "sim")
    learner = LocalErrorLearner if settings.signal == "sim" else PredictingLearner
    return learner(task, settings, budget, device, generator)


class LocalErrors:
    """The method as the harness registers it."""

    Settings: ClassVar[type[LocalErrorSettings]] = LocalErrorSettings
    strategies: ClassVar[tuple[str, ...]] = PredictingLearner.strategies
    build = staticmethod(build)
    small: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"plan": "8,M,16"},
        {"signal": "pred", "topology": "asge", "plan": "8,M,16", "affine": True, "head": "pooled"},
        {"signal": "sim", "plan": "8,M,16", "hidden": [12], "dropout": 0.2},
    )
    optimiser = staticmethod(optimiser_in_words)

    @staticmethod
    def strategies_of(settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Blocks without a read-out cannot predict."""
        return (LocalErrorLearner if settings.get("signal") == "sim" else PredictingLearner).strategies

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
