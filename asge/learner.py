"""Training an ASGE network: one local step per block and batch, in the one forward pass (arXiv 2509.12394)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge, Gt
from pydantic.dataclasses import dataclass
from torch import Tensor

from asge import strategies
from asge.block import Projection
from asge.goodness import Reduction, Rule
from asge.network import ASGENetwork
from asge.optim import LearningRate, Momentum, OptimiserName, ScheduledOptimiser, ScheduleName, WeightDecay
from asge.pooling import Pooling
from asge.step import StepName, autograd_step, fast_step
from asge.types import TaskShape, TrainingBudget


@dataclass(frozen=True, kw_only=True)
class ASGESettings:
    """Settings of ASGE. All defaults are this project's own choices: the paper's were not available.

    Attributes:
        plan: channel plan, see ``asge.network.parse_plan``.
        alpha, rule: patches per side, see ``asge.goodness.patches_per_side``.
        reduction: goodness of a patch, mean or sum of squares.
        projection, scale: the fixed W_l, see ``asge.block.ASGEBlock``.
        pooling: in branch 1, see ``asge.pooling.pool2d``.
        affine: whether LayerNorm's gamma and beta are trained, by the block after it.
        step: the local step written out, or by autograd; they give the same, see ``asge.step``.
        optimiser, learning_rate, weight_decay, momentum, schedule: see ``asge.optim``; momentum is SGD's.
    """

    plan: str = "small"
    alpha: Annotated[float, Ge(0)] = 1.0
    rule: Rule = "power"
    reduction: Reduction = "mean"
    projection: Projection = "signs"
    scale: Annotated[float, Gt(0)] = 1.0
    pooling: Pooling = "rms"
    affine: bool = False
    step: StepName = "fast"
    optimiser: OptimiserName = "adamw"
    learning_rate: LearningRate = 3e-3
    weight_decay: WeightDecay = 1e-4
    momentum: Momentum = 0.9
    schedule: ScheduleName = "one-cycle"


STEPS = {"fast": fast_step, "autograd": autograd_step}
GROUP_BYTES = 2**20
"""Blocks in a row with less than this in parameters are updated together: many small updates cost time, gradients that
wait for a large one cost memory."""
CLASSIFIERS = 0


class ASGELearner:
    """An ASGE network in training. The classifiers of `last` and `fusion` train along, on detached features.

    Attributes:
        on_layer: None, or what ``train_step`` calls after each block's local step.
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
        self.network = ASGENetwork(
            task.shape,
            task.classes,
            plan=settings.plan,
            alpha=settings.alpha,
            rule=settings.rule,
            pooling=settings.pooling,
            affine=settings.affine,
            reduction=settings.reduction,
            projection=settings.projection,
            scale=settings.scale,
            generator=generator,
        )
        self.network.to(device).to(memory_format=torch.channels_last)
        self.on_layer: Callable[[], None] | None = None
        self._local_step = STEPS[settings.step]
        total_steps = budget.epochs * budget.steps_per_epoch
        self._optimisers = {
            number: ScheduledOptimiser(group, settings, total_steps) for number, group in _groups(self.network).items()
        }

    def begin_epoch(self, epoch: int) -> None:
        """Nothing to do: the schedule counts steps."""

    def train_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Train every block, then the classifiers, on one batch.

        Args:
            images: (B, C, H, W) float.
            labels: (B,) int64.

        Returns:
            Detached scalar losses: ``layer1`` .. ``layerL``, ``last`` and ``fusion``.
        """
        losses: dict[str, Tensor] = {}
        features: list[Tensor] = []
        x = images.contiguous(memory_format=torch.channels_last)
        for optimiser in self._optimisers.values():
            optimiser.zero_grad()  # nothing is left, unless a step was interrupted
        for index, block in enumerate(self.network.blocks, start=1):
            outcome = self._local_step(block, x, labels, propagate=index < len(self.network.blocks))
            if index in self._optimisers:
                self._update(index)
            losses[f"layer{index}"] = outcome.loss
            features.append(outcome.features)
            if outcome.next_input is not None:
                x = outcome.next_input
            if self.on_layer is not None:
                self.on_layer()
        for name, logits in (
            ("last", strategies.last_logits(self.network, features)),
            ("fusion", strategies.fusion_logits(self.network, features)),
        ):
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            losses[name] = loss.detach()
        self._update(CLASSIFIERS)
        return losses

    def _update(self, group: int) -> None:
        """Use the gradients of a group of parameters, then let them go."""
        self._optimisers[group].step()
        self._optimisers[group].zero_grad()

    def finish(self, validation: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Choose l*, the layer whose own logits are most accurate on validation data (the deepest of equals)."""
        correct = torch.zeros(len(self.network.blocks), dtype=torch.int64)
        for images, labels in validation:
            hits = [(logits.argmax(1) == labels).sum() for logits in self.layer_logits(images)]
            correct += torch.stack(hits).cpu()
        counts = correct.tolist()
        self.network.best_layer = max(range(len(counts)), key=lambda layer: (counts[layer], layer))

    def predict(self, images: Tensor, strategy: str) -> Tensor:
        """Logits (B, N) of a strategy: last, fusion or best."""
        return strategies.predict(self.network, images.contiguous(memory_format=torch.channels_last), strategy)

    def layer_logits(self, images: Tensor) -> list[Tensor]:
        """Every layer's own logits, (B, N) each."""
        return strategies.layer_logits(self.network, images.contiguous(memory_format=torch.channels_last))

    @torch.no_grad()
    def layer_goodness(self, images: Tensor) -> list[Tensor]:
        """Mean of Y_l squared, over images, channels and space, of every layer."""
        y_by_layer = self.network.activations(images.contiguous(memory_format=torch.channels_last))
        return [y.square().mean() for y in y_by_layer]

    def parameters(self, strategy: str | None = None) -> Iterator[Tensor]:
        """The tensors that a strategy predicts with; without one, all that are trained."""
        if strategy is None:
            yield from self.network.parameters()
        else:
            yield from strategies.parameters(self.network, strategy)

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser, schedule and l*."""
        return {
            "network": self.network.state_dict(),
            "optimisers": {str(number): each.state_dict() for number, each in self._optimisers.items()},
            "best_layer": self.network.best_layer,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken."""
        self.network.load_state_dict(state["network"])
        for number, optimiser in self._optimisers.items():
            optimiser.load_state_dict(state["optimisers"][str(number)])
        self.network.best_layer = state["best_layer"]


def _groups(network: ASGENetwork) -> dict[int, list[Tensor]]:
    """Parameters that are updated together, by the number of the block after which they are.

    Those of the last blocks are updated with the classifiers, after all blocks: their number is ``CLASSIFIERS``.
    """
    groups: dict[int, list[Tensor]] = {}
    waiting: list[Tensor] = []
    for number, block in enumerate(network.blocks, start=1):
        waiting += block.parameters()
        if sum(parameter.nbytes for parameter in waiting) >= GROUP_BYTES:
            groups[number] = waiting
            waiting = []
    groups[CLASSIFIERS] = [*waiting, *network.last.parameters(), *network.fusion.parameters()]
    return groups


class ASGE:
    """The method as the harness finds it."""

    Settings: ClassVar[type[ASGESettings]] = ASGESettings
    strategies: ClassVar[tuple[str, ...]] = strategies.STRATEGIES
    published: ClassVar[tuple[str, str]] = ("ASGE", "headline")
    build: ClassVar[type[ASGELearner]] = ASGELearner
