"""Batch-shaping (Bejnordi, Blankevoort, Welling, ICLR 2020, arXiv 1907.06627): a ResNet with gates on channels.

    L = CE + gamma(t) L_BS + lambda(t) L_0

L_BS asks every gate to be open for some images and closed for others (see ``batch_shaping``), L_0 is the mean
probability that a gate is open. Over training, t from 0 to 1, gamma falls to 0 first, then lambda rises to its full
value. FBS (Gao et al., ICLR 2019, arXiv 1810.05331), which it is compared with, is here too: in each block the k most
salient channels stay open, scaled by their saliency s,

    L = CE + lambda mean(s)

Without gates (gating "none") the same class trains the ungated ResNet that both are compared with.
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
from baselines.conditional.batch_shaping import Reduction, check_schedule, gate_losses
from baselines.conditional.block import BottleneckGates
from baselines.conditional.learner import ConditionalLearner, kind_of_gates, optimiser_of
from baselines.conditional.resnet import GatedResNet, Outcome, architecture, between_convolutions

Share = Annotated[float, Ge(0), Le(1)]
Weight = Annotated[float, Ge(0)]
Width = Annotated[float, Gt(0), Le(16)]


@settings_class
class BASSettings:
    """Settings of batch-shaping. Published for CIFAR-10: cifar-20, 32 or 56, 500 epochs, batches of 256.

    Attributes:
        architecture, width: see ``baselines.conditional.resnet``.
        gating: "channels" (batch-shaping), "saliency" (FBS), or "none" for the ResNet without gates.
        keep: share of channels that FBS leaves open.
        bottleneck_gates: of channels, in a bottleneck: after its "3x3" convolution, or after "both" inner ones.
        shaping_weight, shaping_reduction: initial gamma, and whether L_BS is summed or averaged over the images.
        shaping_until: share of training over which gamma falls linearly to 0.
        l0_weight: final lambda; constant for FBS.
        l0_from, l0_until: shares of training between which lambda rises linearly from 0.
        optimiser, learning_rate, weight_decay, momentum, schedule: see ``asge.common.optimisers``; momentum is SGD's.
        gate_learning_rate: of the gates, null for `learning_rate`; a higher one helps gates in a trained network.
        gate_weight_decay: of the gates; null for `weight_decay`.
    """

    architecture: str = "cifar-20"
    width: Width = 1.0
    gating: Literal["channels", "saliency", "none"] = "channels"
    keep: Annotated[float, Gt(0), Le(1)] = 0.5
    bottleneck_gates: Annotated[BottleneckGates, Neutral("3x3")] = "3x3"
    shaping_weight: Weight = 0.75
    shaping_reduction: Reduction = "sum"
    shaping_until: Share = 0.2
    l0_weight: Weight = 1.0
    l0_from: Share = 0.2
    l0_until: Share = 0.6
    optimiser: OptimiserSetting = "nesterov"
    learning_rate: LearningRate = 0.1
    weight_decay: WeightDecay = 5e-4
    momentum: Momentum = 0.9
    gate_learning_rate: Annotated[Annotated[float, Gt(0)] | None, Neutral(None)] = None
    gate_weight_decay: Annotated[Annotated[float, Ge(0)] | None, Neutral(0.0)] = 0.0
    schedule: ScheduleSetting = "late-steps"


def build(
    task: TaskShape,
    settings: BASSettings,
    budget: TrainingBudget,
    device: torch.device,
    generator: torch.Generator,
) -> ConditionalLearner:
    """Make a learner.

    Raises:
        ValueError: for an unknown architecture, or l0_from after l0_until.
    """
    check_schedule(settings)
    because = f"gating {settings.gating!r}"
    refuse_without_effect(settings, ["keep"], because, when=settings.gating != "saliency")
    if settings.gating != "channels":
        shaping = ("shaping_weight", "shaping_reduction", "shaping_until", "l0_from", "l0_until", "bottleneck_gates")
        refuse_without_effect(settings, shaping, because)
    no_bottleneck = not architecture(settings.architecture).bottleneck
    basic = f"architecture {settings.architecture!r}, which has no bottlenecks"
    refuse_without_effect(settings, ["bottleneck_gates"], basic, when=no_bottleneck)
    if settings.gating == "none":
        refuse_without_effect(settings, ["l0_weight"], because)
    network = GatedResNet(
        settings.architecture,
        task.classes,
        in_channels=task.shape[0],
        gating=settings.gating,
        width=settings.width,
        keep=settings.keep,
        bottleneck_gates=settings.bottleneck_gates,
        generator=generator,
    )

    def losses(outcome: Outcome, progress: float) -> dict[str, Tensor]:
        if settings.gating == "none":
            return {}
        whole = torch.cat(outcome.soft_gates, dim=1)
        if settings.gating == "saliency":
            return {"saliency": settings.l0_weight * whole.mean()}
        return gate_losses(whole, settings, progress)

    return ConditionalLearner(network, losses, settings, budget, device)


class BAS:
    """The method as the harness registers it."""

    Settings: ClassVar[type[BASSettings]] = BASSettings
    strategies: ClassVar[tuple[str, ...]] = ConditionalLearner.strategies
    build = staticmethod(build)
    small: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"architecture": "cifar-8", "shaping_until": 1.0, "l0_from": 0.0, "l0_until": 0.0, "learning_rate": 0.02},
        {"architecture": "cifar-8", "gating": "saliency", "learning_rate": 0.02},
    )

    @staticmethod
    def published(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Rows of published.csv: gated networks at about a ResNet-18's work, and the paper's ResNet-18 baseline."""
        known = {
            ("imagenet-50", "channels"): ("BAS", "ResNet-50 at about ResNet-18 compute"),
            ("imagenet-34", "channels"): ("BAS", "ResNet-34 at about ResNet-18 compute"),
            ("imagenet-18", "none"): ("BP", "ResNet-18 (BAS baseline)"),
        }
        row = known.get((str(settings.get("architecture")), str(settings.get("gating"))))
        return [row] if row and settings.get("width") == 1 else []

    @staticmethod
    def between(settings: Mapping[str, Any]) -> str:
        """Describe, in words, the layers between the convolutions."""
        return between_convolutions(settings.get("gating"))

    optimiser = staticmethod(optimiser_of)
    family = staticmethod(kind_of_gates)
