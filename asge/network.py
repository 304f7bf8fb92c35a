"""Channel plans, and the stack of ASGE blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from asge.block import ASGEBlock, Bias, Features, Normalization, Projection, ProjectionScale
from asge.common.types import check_choice
from asge.goodness import Goodness, Reduction, Rule, patches_per_side
from asge.layers.gating import Gate, Gating, Where, make_gate
from asge.layers.pooling import Pooling

PLANS = {
    "tiny": "16,M,32,M,64",
    "small": "32,M,64,M,128,M,256",
    "vgg8": "128,256,M,256,512,M,512,M,512,M,512",
    "vgg11": "128,256,M,256,512,M,512,512,M,512,512,M,512,512",
    "vgg8b": "128,256,M,256,512,M,512,M,512,M",
    "vgg11b": "128,128,128,256,M,256,512,M,512,512,M,512,M",
    "imagenet": "64s,M,128,M,256,256,M,512,512,M,512",
}
"""Plans by name. Numbers are the channels of 3x3 convolutions, an s after one gives it stride 2, M pools by 2.

vgg8 and vgg11 are those of ASGE's authors (github.com/KCL-KAI-Lab/ASGE), vgg8b and vgg11b those of Nøkland & Eidnes
(arXiv 1901.06656), without their linear layer.
"""

MOST_CHANNELS = 1_000_000
FusionLayers = Literal["joint", "per-block"]
ClassifierInit = Literal["zero", "kaiming"]


@dataclass(frozen=True)
class Layer:
    """One convolution of a plan: its channels, the pool after it, and the size of its map before that pool."""

    in_channels: int
    channels: int
    stride: int
    pool: int
    height: int
    width: int

    @property
    def output(self) -> tuple[int, int, int]:
        """(C, H, W) of the next layer's input, after the pool."""
        return self.channels, self.height // self.pool, self.width // self.pool


def parse_plan(plan: str, shape: tuple[int, int, int]) -> list[Layer]:
    """The layers of a plan for images of a given shape.

    Args:
        plan: a name in PLANS, or a list such as "32,M,64s,128": channels, with M for pooling by 2, s for stride 2.
        shape: (C, H, W) of the images.

    Raises:
        ValueError: if the plan is not of that form, has fewer than two convolutions, or pools a map to nothing.
    """
    channels, height, width = shape
    layers: list[Layer] = []
    for token in PLANS.get(plan, plan).split(","):
        token = token.strip()
        if token == "M":  # noqa: S105
            if not layers:
                raise ValueError(f"plan {plan!r} pools before its first convolution")
            layers[-1] = replace(layers[-1], pool=layers[-1].pool * 2)
        elif (number := token.removesuffix("s")).isdecimal() and number.strip("0"):
            if len(number) > len(str(MOST_CHANNELS)) or int(number) > MOST_CHANNELS:
                raise ValueError(f"plan {plan[:80]!r} has a convolution of more than {MOST_CHANNELS:,} channels")
            stride = 1 if token == number else 2
            # padding 1: a strided convolution rounds up
            height, width = -(-height // stride), -(-width // stride)
            layers.append(Layer(channels, int(number), stride, 1, height, width))
            channels = int(number)
        else:
            raise ValueError(
                f"plan {plan!r} is neither one of {', '.join(PLANS)} nor a list such as '32,M,64s,128' "
                f"({token!r} is not a number of channels, one with an s for stride 2, or M)"
            )
        _, height, width = layers[-1].output
        if min(height, width) < 1:
            raise ValueError(f"plan {plan!r} pools images of {shape[1]} x {shape[2]} pixels to nothing")
    if len(layers) < 2:
        raise ValueError(f"plan {plan!r} needs at least two convolutions")
    return layers


def gates(
    layers: list[Layer], gating: Gating, where: Where, activation: Gate, generator: torch.Generator
) -> list[nn.Module | None]:
    """Make the gate before every convolution of a plan, None where there is none.

    Args:
        layers: of the plan.
        gating: "none", or see ``asge.gating.make_gate``.
        where: before "every" convolution, or ("block") only before the first on maps of each size.
        activation: see ``make_gate``.
        generator: see there.
    """
    made: list[nn.Module | None] = []
    size: tuple[int, int] | None = None
    for layer in layers:
        first = (layer.height, layer.width) != size
        size = layer.height, layer.width
        if gating == "none" or (where == "block" and not first):
            made.append(None)
        else:
            made.append(make_gate(gating, layer.in_channels, activation=activation, generator=generator))
    return made


class ASGENetwork(nn.Module):
    """A stack of ASGE blocks and the linear classifiers of its prediction strategies.

    Args:
        shape: (C, H, W) of the images.
        classes: N.
        plan: see ``parse_plan``.
        alpha, rule: see ``asge.goodness.patches_per_side``.
        pooling, normalization, dropout, affine: see ``ASGEBlock``; the first block, on images, is never affine.
        reduction, goodness, projection, scale, projection_scale, projection_bias, label_smoothing: see there.
        gating, gating_where, gate_activation: see ``gates``.
        features: what the classifiers of `last` and `fusion` read, see ``ASGEBlock``.
        fusion_layers: the classifier of `fusion` is one linear layer on all features ("joint"), or the sum of one per
            block, each with a bias of its own.
        classifier_init: first weights of both classifiers: zero, or Kaiming normal; the biases are zero.
        make_block: makes a block from the arguments of ``ASGEBlock``.
        generator: draws everything random, on the CPU.

    Attributes:
        blocks: the L blocks.
        last: linear classifier on the features of block L.
        fusion: linear classifier on the features of blocks 2 .. L.
        best_layer: index l* of the layer whose own logits predict for the strategy `best`.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        plan: str = "small",
        alpha: float = 1.0,
        rule: Rule = "power",
        pooling: Pooling = "rms",
        normalization: Normalization = "layer",
        dropout: float = 0.0,
        affine: bool = False,
        reduction: Reduction = "mean",
        goodness: Goodness = "squares",
        projection: Projection = "signs",
        scale: float = 1.0,
        projection_scale: ProjectionScale = "width",
        projection_bias: Bias = "zero",
        label_smoothing: float = 0.0,
        gating: Gating = "none",
        gating_where: Where = "every",
        gate_activation: Gate = "tanh",
        features: Features = "activations",
        fusion_layers: FusionLayers = "joint",
        classifier_init: ClassifierInit = "zero",
        make_block: Callable[..., ASGEBlock] = ASGEBlock,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        check_choice("fusion_layers", fusion_layers, FusionLayers)
        check_choice("classifier_init", classifier_init, ClassifierInit)
        layers = parse_plan(plan, shape)
        last_channels = layers[-1].channels
        self.blocks: list[ASGEBlock] = []
        before = gates(layers, gating, gating_where, gate_activation, generator)
        for layer, gate in zip(layers, before, strict=True):
            size = min(layer.height, layer.width)
            block = make_block(
                layer.in_channels,
                layer.channels,
                patches=patches_per_side(layer.channels, last_channels, alpha, size=size, rule=rule),
                classes=classes,
                pool=layer.pool,
                stride=layer.stride,
                pooling=pooling,
                normalization=normalization,
                dropout=dropout,
                gate=gate,
                affine=affine and bool(self.blocks),
                reduction=reduction,
                goodness=goodness,
                projection=projection,
                scale=scale,
                projection_scale=projection_scale,
                projection_bias=projection_bias,
                label_smoothing=label_smoothing,
                features=features,
                generator=generator,
            )
            self.blocks.append(block)
        self._blocks = nn.ModuleList(self.blocks)
        draws = None if classifier_init == "zero" else generator
        widths = [layer.channels for layer in layers[1:]]
        self.last = _linear(last_channels, classes, draws)
        self.fusion: nn.Module = (
            _linear(sum(widths), classes, draws) if fusion_layers == "joint" else LinearPerBlock(widths, classes, draws)
        )
        self.best_layer = len(layers) - 1

    def activations(self, images: Tensor, depth: int | None = None) -> Iterator[Tensor]:
        """Y_1 .. Y_depth, (B, C_l, H_l, W_l) each, for images (B, C, H, W); all L without a depth.

        A generator, so that at most two layers' maps are held at once.
        """
        blocks = self.blocks[:depth]
        x = images
        for index, block in enumerate(blocks, start=1):
            y = block.activate(x)
            yield y
            if index < len(blocks):
                x = block.propagate(y)

    def layers(self, images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Y_l and X_{l+1} of all L blocks, for images (B, C, H, W); a generator too."""
        x = images
        for block in self.blocks:
            y = block.activate(x)
            x = block.propagate(y)
            yield y, x


class LinearPerBlock(nn.Module):
    """One linear layer per block, whose outputs are added: on concatenated features (B, sum of widths) -> (B, N)."""

    def __init__(self, widths: Sequence[int], classes: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self._widths = list(widths)
        self.layers = nn.ModuleList([_linear(width, classes, generator) for width in widths])

    def forward(self, features: Tensor) -> Tensor:
        """The sum of the layers' outputs."""
        parts = features.split(self._widths, dim=1)
        outputs = [layer(part) for layer, part in zip(self.layers, parts, strict=True)]
        return torch.stack(outputs).sum(0)


def _linear(features: int, classes: int, generator: torch.Generator | None) -> nn.Linear:
    """A linear layer, drawn Kaiming normal (fan in, ReLU's gain), or zero without a generator; its bias is zero."""
    linear = nn.Linear(features, classes)
    if generator is None:
        nn.init.zeros_(linear.weight)
    else:
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(linear.bias)
    return linear
