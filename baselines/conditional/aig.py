"""ConvNet-AIG (Veit & Belongie, ECCV 2018, arXiv 1711.11503): a ResNet that decides for each image which blocks to run.

    L = CE + lambda reduce_l (t_l - mean over the batch of z_l)^2

t_l is the target rate of block l; the paper sums over blocks, its authors' code takes the mean. Without gates (gating
"none") the same class trains the ungated ResNet that the method is compared with.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le
from pydantic.dataclasses import dataclass
from torch import Tensor

from asge.optim import LearningRate, Momentum, OptimiserSetting, ScheduleSetting, WeightDecay
from asge.types import TaskShape, TrainingBudget
from baselines.conditional.batch_shaping import Reduction, target_rate_loss
from baselines.conditional.learner import ConditionalLearner
from baselines.conditional.resnet import GatedResNet, Outcome, architecture

Rate = Annotated[float, Gt(0), Le(1)]
Width = Annotated[float, Gt(0), Le(16)]
IMAGENET_50 = (1, 1, 0.8, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0.7, 1)
"""The authors' targets of a ResNet-50's blocks; where there is 0 the target of the settings."""


@dataclass(frozen=True, kw_only=True)
class AIGSettings:
    """Settings of ConvNet-AIG. Published for CIFAR-10: cifar-110, 350 epochs, batches of 256, target 0.6 or 0.7.

    Attributes:
        architecture, width: see ``baselines.conditional.resnet``; wider networks are batch-shaping's rivals.
        gating: "blocks", or "none" for the ResNet without gates.
        target: rate at which each block shall run; one with target 1 always does. On ResNet-50 the authors' own
            targets hold for some blocks.
        rate_weight, rate_reduction: lambda, and how the blocks' squares are reduced.
        optimiser, learning_rate, weight_decay, momentum, schedule: see ``asge.optim``; momentum is SGD's.
    """

    architecture: str = "cifar-20"
    width: Width = 1.0
    gating: Literal["blocks", "none"] = "blocks"
    target: Rate = 0.7
    rate_weight: Annotated[float, Ge(0)] = 2.0
    rate_reduction: Reduction = "mean"
    optimiser: OptimiserSetting = "sgd"
    learning_rate: LearningRate = 0.1
    weight_decay: WeightDecay = 5e-4
    momentum: Momentum = 0.9
    schedule: ScheduleSetting = "steps"


def targets(settings: AIGSettings) -> list[float]:
    """The target rate of each block."""
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
    """A learner before its first step."""
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
    gated = [place for place, block in enumerate(network.blocks) if block.block_gate is not None]
    wanted = torch.tensor([rates[place] for place in gated], device=device)

    def losses(outcome: Outcome, _progress: float) -> dict[str, Tensor]:
        if not gated:
            return {}
        loss = target_rate_loss(outcome.executed[:, gated], wanted, settings.rate_reduction)
        return {"rate": settings.rate_weight * loss}

    return ConditionalLearner(network, losses, settings, budget, device)


class ConvNetAIG:
    """The method as the harness finds it."""

    Settings: ClassVar[type[AIGSettings]] = AIGSettings
    strategies: ClassVar[tuple[str, ...]] = ConditionalLearner.strategies
    build = staticmethod(build)
