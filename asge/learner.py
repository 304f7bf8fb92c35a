"""Training an ASGE network: one local step per block and batch, in the one forward pass (arXiv 2509.12394)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from asge import strategies
from asge.block import between_units
from asge.common.best_layer import most_accurate
from asge.common.optimisers import ScheduledOptimiser, optimiser_in_words
from asge.common.types import Examination, TaskShape, TrainingBudget
from asge.layers.gating import check_gating, gammas
from asge.network import ASGENetwork
from asge.settings import AUTHORS, ASGESettings
from asge.stage import Stage, dropout_seeds, scheduled
from asge.whitening import Whitening


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
        goodness=settings.goodness,
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
        self._whitening = Whitening(self.network, settings.first_layer)
        self._epoch = 0

    def compile(self, backend: str = "inductor") -> None:
        """Take compiled steps from now on, see ``asge.stage.Stage.compile``."""
        self._stage.compile(backend)

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
        self._whitening.see(images)
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

    def choose_layer(self, accuracies: Sequence[float]) -> dict[str, float]:
        """Choose l* as ``finish`` would, from all layers' validation accuracies; returns that of `best`."""
        self.network.best_layer = most_accurate(accuracies)
        return {"best": accuracies[self.network.best_layer]}

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
            "to_whiten": self._whitening.waits,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a ``state_dict``."""
        self.network.load_state_dict(state["network"])
        self._stage.load_state_dict(state["blocks"])
        self._classifiers.load_state_dict(state["classifiers"])
        self.network.best_layer = state["best_layer"]
        self._whitening.waits = state["to_whiten"]


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
