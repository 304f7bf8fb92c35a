"""The settings of ASGE: this project's defaults, and what the authors' code has instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt

from asge.block import Bias, Features, Normalization, Projection, ProjectionScale
from asge.common.marks import Choice, Range
from asge.common.optimisers import LearningRate, Momentum, OptimiserSetting, ScheduleSetting, WeightDecay
from asge.common.settings import settings_class
from asge.common.types import Neutral
from asge.goodness import Goodness, Reduction, Rule
from asge.layers.gating import Gate, Gating, Where
from asge.layers.pooling import Pooling
from asge.network import ClassifierInit, FusionLayers
from asge.stage import ScheduleBy
from asge.step import StepName
from asge.whitening import FirstLayer


@settings_class
class ASGESettings:
    """Settings of ASGE. The defaults are this project's own choices; ``AUTHORS`` has those of the authors' code.

    Attributes:
        plan: channel plan, see ``asge.network.parse_plan``.
        alpha, rule: patches per side, see ``asge.goodness.patches_per_side``.
        reduction: goodness of a patch, mean or sum of squares.
        goodness: "squares", or "activations": a control, whose read-out sees Y and not its squares.
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
    goodness: Annotated[Goodness, Neutral("squares")] = "squares"
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
