"""Training an ASGE network: one local step per block and batch, in the one forward pass (arXiv 2509.12394)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from asge import strategies
from asge.block import Bias, Features, Normalization, Projection, ProjectionScale, between_units
from asge.common.marks import Choice, Range
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
from asge.goodness import Reduction, Rule
from asge.layers.gating import Gate, Gating, Where, check_gating, gammas
from asge.layers.pooling import Pooling
from asge.network import ASGENetwork, ClassifierInit, FusionLayers
from asge.stage import ScheduleBy, Stage, dropout_seeds, scheduled
from asge.step import StepName
from asge.whitening import FirstLayer, whiten


@settings_class
class ASGESettings:
    """Settings of ASGE. The defaults are this project's own choices; ``AUTHORS`` has those of the authors' code.

    Attributes:
        plan: channel plan, see ``asge.network.parse_plan``.
        alpha, rule: patches per side, see ``asge.goodness.patches_per_side``.
        reduction: goodness of a patch, mean or sum of squares.
        projection, scale, projection_scale, projection_bias: the fixed W_l and b_l, see ``asge.block.ASGEBlock``.
        label_smoothing: of the blocks' losses.
        pooling: in branch 1, see ``asge.pooling.pool2d``.
        normalization: in branch 1: LayerNorm over the channels of a pixel, or the RMS over the whole image.
        dropout: in branch 1, between the two: probability of dropping an element.
        first_layer: its first weights: random as all others', or "whitened", see ``asge.whitening``.
        affine: whether the normalisation's gamma and beta are trained, by the block after it.
        gating: gates of channels before convolutions: GCT with l2 or l1 norms, or squeeze-and-excitation.
        gating_where: before every convolution, or ("block") only before the first on maps of each size.
        gate_activation: of GCT, see ``asge.gating.GatedChannelTransform``.
        features: what the classifiers of `last` and `fusion` read, see ``asge.block.ASGEBlock``.
        fusion_layers, classifier_init: these classifiers, see ``asge.network.ASGENetwork``.
        blocks: "trained", or "random": a control, in which they keep their first weights, and classifiers alone learn.
        classifier_epochs: 0: the classifiers of `last` and `fusion` train along with the blocks, on detached features;
            n > 0: they train in the last n epochs, after the blocks, with a schedule of their own.
        step: the local step written out, or by autograd; same result, see ``asge.step``.
        optimiser, learning_rate, weight_decay, momentum, schedule: see ``asge.common.optimisers``; momentum is SGD's
            and Muon's.
        min_learning_rate: the rate where the schedule is at 0, as PyTorch's ``eta_min``.
        schedule_by: whether the rate changes with every step, or only with every epoch.
    """

    plan: str = "small"
    alpha: Annotated[float, Ge(0), Range(0, 2, step=0.5)] = 1.0
    rule: Rule = "power"
    reduction: Annotated[Reduction, Choice(("mean", "sum"))] = "mean"
    projection: Annotated[Projection, Choice(("signs", "gaussian"))] = "signs"
    scale: Annotated[float, Gt(0), Range(0.25, 16, log=True)] = 1.0
    projection_scale: Annotated[ProjectionScale, Neutral("width")] = "width"
    projection_bias: Annotated[Bias, Neutral("zero")] = "zero"
    label_smoothing: Annotated[float, Ge(0), Lt(1), Neutral(0.0)] = 0.0
    pooling: Pooling = "rms"
    normalization: Annotated[Normalization, Neutral("layer")] = "layer"
    dropout: Annotated[float, Ge(0), Lt(1), Neutral(0.0)] = 0.0
    first_layer: Annotated[FirstLayer, Neutral("random")] = "random"
    affine: Annotated[bool, Choice((False, True))] = True
    gating: Annotated[Gating, Neutral("none")] = "none"
    gating_where: Annotated[Where, Neutral("every")] = "every"
    gate_activation: Annotated[Gate, Neutral("tanh")] = "tanh"
    features: Annotated[Features, Neutral("activations")] = "energies"
    fusion_layers: Annotated[FusionLayers, Neutral("joint")] = "joint"
    classifier_init: Annotated[ClassifierInit, Neutral("zero")] = "zero"
    blocks: Annotated[Literal["trained", "random"], Neutral("trained")] = "trained"
    classifier_epochs: Annotated[int, Ge(0)] = 0
    step: StepName = "fast"
    optimiser: OptimiserSetting = "muon"
    learning_rate: LearningRate = 1e-2
    weight_decay: WeightDecay = 1e-4
    momentum: Momentum = 0.9
    schedule: ScheduleSetting = "one-cycle"
    min_learning_rate: Annotated[float, Ge(0), Neutral(0.0)] = 0.0
    schedule_by: Annotated[ScheduleBy, Neutral("step")] = "step"


AUTHORS: Mapping[str, Any] = {
    "plan": "vgg8",
    "projection": "gaussian",
    "projection_scale": "classes",
    "projection_bias": "gaussian",
    "pooling": "avg",
    "normalization": "rms",
    "dropout": 0.1,
    "affine": False,
    "features": "propagated",
    "fusion_layers": "per-block",
    "classifier_init": "kaiming",
    "optimiser": "adamw",
    "learning_rate": 2e-4,
    "weight_decay": 1e-3,
    "schedule": "cosine",
    "min_learning_rate": 1e-5,
    "schedule_by": "epoch",
}
"""The settings of the authors' code where they differ from the defaults (github.com/KCL-KAI-Lab/ASGE at 78d82a4, MIT);
``plan`` is the smaller of the two networks that it has."""


def build_network(task: TaskShape, settings: ASGESettings, generator: torch.Generator) -> ASGENetwork:
    """Build the network of some settings for a task, on the CPU; ``generator`` draws everything random in it.

    Raises:
        ValueError: if a setting has no effect, or settings and task do not fit.
    """
    check_gating(settings)
    return ASGENetwork(
        task.shape,
        task.classes,
        plan=settings.plan,
        alpha=settings.alpha,
        rule=settings.rule,
        pooling=settings.pooling,
        normalization=settings.normalization,
        dropout=settings.dropout,
        affine=settings.affine,
        gating=settings.gating,
        gating_where=settings.gating_where,
        gate_activation=settings.gate_activation,
        reduction=settings.reduction,
        projection=settings.projection,
        scale=settings.scale,
        projection_scale=settings.projection_scale,
        projection_bias=settings.projection_bias,
        label_smoothing=settings.label_smoothing,
        features=settings.features,
        fusion_layers=settings.fusion_layers,
        classifier_init=settings.classifier_init,
        generator=generator,
    )


class Classifiers:
    """Trains the linear classifiers of `last` and `fusion`.

    Args:
        network: whose classifiers they are.
        optimiser: makes the optimiser of both, from their parameters.
    """

    def __init__(self, network: ASGENetwork, optimiser: Callable[[list[Tensor]], ScheduledOptimiser]) -> None:
        self._network = network
        self._optimiser = optimiser([*network.last.parameters(), *network.fusion.parameters()])

    def train_step(self, features: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """One step of both on the detached features (B, C_l) of all layers; returns their detached losses."""
        losses = {}
        self._optimiser.zero_grad()
        for name, logits in (
            ("last", strategies.last_logits(self._network, features)),
            ("fusion", strategies.fusion_logits(self._network, features)),
        ):
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            losses[name] = loss.detach()
        self._optimiser.step()
        self._optimiser.zero_grad()
        return losses

    def state_dict(self) -> dict[str, Any]:
        """Optimiser and schedule; the classifiers' parameters are the network's."""
        return self._optimiser.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a ``state_dict``."""
        self._optimiser.load_state_dict(state)


class ASGELearner:
    """An ASGE network in training.

    Attributes:
        on_layer: None, or a function that ``train_step`` calls after each block's local step.
    """

    strategies = strategies.STRATEGIES

    def __init__(
        self,
        task: TaskShape,
        settings: ASGESettings,
        budget: TrainingBudget,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        self.network = build_network(task, settings, generator)
        self.network.to(device).to(memory_format=torch.channels_last)
        self.on_layer: Callable[[], None] | None = None
        trained = settings.blocks == "trained"
        if settings.classifier_epochs and not trained:
            raise ValueError("with random blocks the classifiers train in every epoch: classifier_epochs must be 0")
        if settings.classifier_epochs >= budget.epochs:
            raise ValueError(
                f"classifier_epochs must leave an epoch to the blocks: it is {settings.classifier_epochs}, "
                f"of {budget.epochs} epochs"
            )
        self._block_epochs = budget.epochs - settings.classifier_epochs if trained else 0
        self._stage = Stage(
            self.network.blocks,
            settings,
            step=settings.step,
            epochs=budget.epochs - settings.classifier_epochs,
            steps_per_epoch=budget.steps_per_epoch,
        )
        self._along = trained and settings.classifier_epochs == 0
        classifier_epochs = settings.classifier_epochs or budget.epochs
        self._classifiers = Classifiers(
            self.network,
            partial(scheduled, settings=settings, epochs=classifier_epochs, steps_per_epoch=budget.steps_per_epoch),
        )
        self._generator = generator
        self._to_whiten = settings.first_layer == "whitened"
        self._epoch = 0

    def begin_epoch(self, epoch: int) -> None:
        """Set the current epoch; the schedules count steps."""
        self._epoch = epoch

    def train_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Train every block, the classifiers, or both, on one batch.

        Args:
            images: (B, C, H, W) float.
            labels: (B,) int64.

        Returns:
            Detached scalar losses of what is trained: ``layer1`` .. ``layerL``, ``last`` and ``fusion``.
        """
        if self._to_whiten:
            whiten(self.network.blocks[0].unit.conv, images)
            self._to_whiten = False
        if not self._along and self._epoch >= self._block_epochs:
            features = strategies.features(self.network, images.contiguous(memory_format=torch.channels_last))
            return self._classifiers.train_step(features, labels)
        # The copy has no name here: it is gone when the second block runs.
        outcome = self._stage.train_step(
            images.contiguous(memory_format=torch.channels_last),
            labels,
            propagate=False,
            seeds=dropout_seeds(self.network.blocks, self._generator),
            on_layer=self.on_layer,
        )
        losses = {f"layer{number}": loss for number, loss in enumerate(outcome.losses, start=1)}
        return losses | (self._classifiers.train_step(outcome.features, labels) if self._along else {})

    def finish(self, validation: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Choose l*, see ``asge.strategies.choose_best_layer``."""
        strategies.choose_best_layer(self.network, validation)

    def predict(self, images: Tensor, strategy: str) -> Tensor:
        """Logits (B, N) of a strategy: last, fusion or best."""
        return strategies.predict(self.network, images.contiguous(memory_format=torch.channels_last), strategy)

    def layer_logits(self, images: Tensor) -> list[Tensor]:
        """Every layer's own logits, (B, N) each."""
        return strategies.layer_logits(self.network, images.contiguous(memory_format=torch.channels_last))

    def layer_goodness(self, images: Tensor) -> list[Tensor]:
        """Mean of Y_l^2 over images, channels and space, a scalar per layer."""
        return strategies.layer_goodness(self.network, images.contiguous(memory_format=torch.channels_last))

    def examine(self, images: Tensor) -> Examination:
        """Results of ``predict``, ``layer_logits`` and ``layer_goodness`` from a single forward pass."""
        return strategies.examine(self.network, images.contiguous(memory_format=torch.channels_last))

    def layer_values(self, validation: Iterable[tuple[Tensor, Tensor]]) -> dict[str, list[Tensor]]:  # noqa: ARG002
        """``gamma`` of GCT's gates, (C,) each, first to last: above 0 channels compete, below they cooperate."""
        found = gammas(self.network)
        return {"gamma": found} if found else {}

    def parameters(self, strategy: str | None = None) -> Iterator[Tensor]:
        """The tensors that a strategy predicts with; without a strategy, all trained tensors."""
        if strategy is None:
            yield from self.network.parameters()
        else:
            yield from strategies.parameters(self.network, strategy)

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser, schedule, l*, and whether the first layer is still to be whitened."""
        return {
            "network": self.network.state_dict(),
            "blocks": self._stage.state_dict(),
            "classifiers": self._classifiers.state_dict(),
            "best_layer": self.network.best_layer,
            "to_whiten": self._to_whiten,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a ``state_dict``."""
        self.network.load_state_dict(state["network"])
        self._stage.load_state_dict(state["blocks"])
        self._classifiers.load_state_dict(state["classifiers"])
        self.network.best_layer = state["best_layer"]
        self._to_whiten = state["to_whiten"]


class ASGE:
    """The method as the harness registers it."""

    Settings: ClassVar[type[ASGESettings]] = ASGESettings
    strategies: ClassVar[tuple[str, ...]] = strategies.STRATEGIES
    build: ClassVar[type[ASGELearner]] = ASGELearner
    small: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"plan": "8,M,16"},
        {"plan": "8,M,16", "gating": "gct"},
        {"plan": "8s,16", "affine": True, "classifier_epochs": 1, "optimiser": "sgd", "learning_rate": 0.1},
        {**AUTHORS, "plan": "8,M,16,M", "learning_rate": 1e-2},
    )

    @staticmethod
    def published(settings: Mapping[str, Any]) -> list[tuple[str, str]]:  # noqa: ARG004
        """Every run is shown with the headline results; published.csv names the suites that follow their recipe."""
        return [("ASGE", "headline")]

    @staticmethod
    def between(settings: Mapping[str, Any]) -> str:
        """Describe, in words, the layers between the convolutions."""
        return between_units(
            settings.get("pooling", "rms"),
            affine=settings.get("affine", True),
            normalization=settings.get("normalization", "layer"),
            dropout=settings.get("dropout", 0.0),
        )

    @staticmethod
    def optimiser(settings: Mapping[str, Any]) -> str:
        """Describe the optimiser, in words."""
        return optimiser_in_words(settings)

    @staticmethod
    def family(settings: Mapping[str, Any]) -> str:
        """The kind of gates, where there are some."""
        return str(settings.get("gating", ""))
