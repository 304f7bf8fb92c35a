"""ConvNet-AIG (Veit & Belongie, ECCV 2018, arXiv 1711.11503): a ResNet that decides for each image which blocks to run.

    L = CE + lambda reduce_l (t_l - mean over the batch of z_l)^2

t_l is the target rate of block l. The paper sums over blocks; its authors' code averages over all of them, including
those that always run. Without gates (gating "none") the same class trains the ungated ResNet that the method is
compared with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from asge.common.optimisers import (
    LearningRate,
    Momentum,
    OptimiserSetting,
    ScheduleSetting,
    WeightDecay,
)
from asge.common.settings import settings_class
from asge.common.types import Neutral, TaskShape, TrainingBudget, refuse_without_effect
from baselines.conditional.batch_shaping import Reduction, target_rate_loss
from baselines.conditional.learner import ConditionalLearner, kind_of_gates, optimiser_of
from baselines.conditional.resnet import GatedResNet, Outcome, architecture, between_convolutions

Rate = Annotated[float, Gt(0), Le(1)]
Width = Annotated[float, Gt(0), Le(16)]
IMAGENET_50 = (1, 1, 0.8, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0.7, 1)
"""The authors' targets for the blocks of a ResNet-50; 0 stands for the setting ``target``."""


@settings_class
class AIGSettings:
    """Settings of ConvNet-AIG. Published for CIFAR-10: cifar-110, 350 epochs, batches of 256, target 0.6 or 0.7.

    Published for ImageNet: imagenet-50 or -101, 100 epochs, batches of 256, `rate_weight` 1, `weight_decay` 1e-4,
    schedule `imagenet-steps`.

    Attributes:
        architecture, width: see ``baselines.conditional.resnet``; batch-shaping is compared with wider networks.
        gating: "blocks", or "none" for the ResNet without gates.
        target: rate at which each block shall run; a block with target 1 always runs. On ResNet-50 the authors' own
            targets replace it for some blocks.
        block_targets: one rate per block, instead of ``target``; empty for ``target``.
        evaluation: how predictions decide: "argmax", without noise, or "sample", with noise as in training, but the
            same in every pass: it depends only on an image's position in its batch.
        rate_weight, rate_reduction: lambda, and the reduction over blocks.
        optimiser, learning_rate, weight_decay, momentum, schedule: see ``asge.common.optimisers``; momentum is SGD's.
        gate_learning_rate: of the gates, null for `learning_rate`; a higher one helps gates in a trained network.
        gate_weight_decay: of the gates; null for `weight_decay`, as in the authors' code.
    """

    architecture: str = "cifar-20"
    width: Width = 1.0
    gating: Literal["blocks", "none"] = "blocks"
    target: Rate = 0.7
    block_targets: tuple[Rate, ...] = ()
    evaluation: Literal["argmax", "sample"] = "argmax"
    rate_weight: Annotated[float, Ge(0)] = 2.0
    rate_reduction: Reduction = "mean"
    optimiser: OptimiserSetting = "sgd"
    learning_rate: LearningRate = 0.1
    weight_decay: WeightDecay = 5e-4
    momentum: Momentum = 0.9
    gate_learning_rate: Annotated[Annotated[float, Gt(0)] | None, Neutral(None)] = None
    gate_weight_decay: Annotated[Annotated[float, Ge(0)] | None, Neutral(0.0)] = 0.0
    schedule: ScheduleSetting = "steps"


def targets(settings: AIGSettings) -> list[float]:
    """The target rate of each block."""
    if settings.block_targets:
        return list(settings.block_targets)
    if settings.architecture == "imagenet-50":
        return [own or settings.target for own in IMAGENET_50]
    return [settings.target] * sum(architecture(settings.architecture).blocks)


def build(
    task: TaskShape,
    settings: AIGSettings,
    budget: TrainingBudget,
    device: torch.device,
    generator: torch.Generator,
) -> ConditionalLearner:
    """Make a learner.

    Raises:
        ValueError: for an unknown architecture or a wrong number of block targets.
    """
    if settings.gating == "none":
        of_gates = ("target", "block_targets", "evaluation", "rate_weight", "rate_reduction")
        refuse_without_effect(settings, of_gates, "gating 'none'")
    rates = targets(settings)
    network = GatedResNet(
        settings.architecture,
        task.classes,
        in_channels=task.shape[0],
        gating=settings.gating,
        width=settings.width,
        targets=rates,
        generator=generator,
    )
    gates = [block.block_gate for block in network.blocks if block.block_gate is not None]
    if settings.evaluation == "sample":
        for place, gate in enumerate(gates):
            gate.evaluation_seed = place
    wanted = torch.tensor(rates, device=device)

    def losses(outcome: Outcome, _progress: float) -> dict[str, Tensor]:
        if not gates:
            return {}
        loss = target_rate_loss(outcome.executed, wanted, settings.rate_reduction)
        return {"rate": settings.rate_weight * loss}

    return ConditionalLearner(network, losses, settings, budget, device)


class ConvNetAIG:
    """The method as the harness registers it."""

    Settings: ClassVar[type[AIGSettings]] = AIGSettings
    strategies: ClassVar[tuple[str, ...]] = ConditionalLearner.strategies
    build = staticmethod(build)
    small: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"architecture": "cifar-8", "target": 0.2, "rate_weight": 10.0, "learning_rate": 0.05, "schedule": "constant"},
        {"architecture": "cifar-8", "width": 0.5, "gating": "none", "learning_rate": 0.02},
        {"architecture": "cifar-8", "width": 0.5, "learning_rate": 0.02, "gate_learning_rate": 0.1},
        {"architecture": "cifar-8", "width": 0.5, "learning_rate": 0.02, "evaluation": "sample"},
    )

    @staticmethod
    def published(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Rows of published.csv: users' reruns of the authors' code, two networks at target 0.7."""
        rerun = {"width": 1.0, "gating": "blocks", "target": 0.7}
        same = all(settings.get(key) == value for key, value in rerun.items()) and not settings.get("block_targets")
        known = {"cifar-110": "ResNet-110 t=0.7 user rerun", "imagenet-50": "ResNet-50 t=0.7 user rerun"}
        variant = known.get(str(settings.get("architecture")))
        return [("ConvNet-AIG", variant)] if same and variant else []

    @staticmethod
    def between(settings: Mapping[str, Any]) -> str:
        """Describe, in words, the layers between the convolutions."""
        return between_convolutions(settings.get("gating"))

    optimiser = staticmethod(optimiser_of)
    family = staticmethod(kind_of_gates)
