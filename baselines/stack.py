"""The networks of backprop and local errors: consecutive blocks and a linear classifier.

    h_l = activate(x_l),  x_{l+1} = propagate(h_l)

Topology "asge": ``asge.block.ConvUnit``, ReLU, then pooling and LayerNorm. Topology "vgg": ``baselines.vgg.VGGBlock``.
Nøkland & Eidnes' VGG8b is topology "vgg", plan `vgg8b`, one hidden layer of 1024; VGG11b the same with plan `vgg11b`.
Shapes: B images, C channels, H x W pixels, N classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol, TypeAlias

import torch
from annotated_types import Ge
from torch import Tensor, nn

from asge.block import ConvUnit, between_units
from asge.block import pooled as average
from asge.layers.pooling import Pooling
from asge.network import Layer, parse_plan
from baselines.vgg import Activation, VGGBlock

Topology = Literal["asge", "vgg"]
Hidden = tuple[Annotated[int, Ge(1)], ...]
Block: TypeAlias = ConvUnit | VGGBlock


class StackSettings(Protocol):
    """The settings that define a stack.

    topology: see above. plan: see ``asge.network.parse_plan``. hidden: widths of linear layers between convolutions and
    classifier. pooling: see ``asge.pooling.pool2d``. activation, dropout: see ``VGGBlock``. The topology "asge" has
    neither hidden layers nor dropout, and its activation is ReLU. affine: gamma and beta of topology "asge", see
    ``ConvUnit``.
    """

    @property
    def topology(self) -> Topology: ...  # noqa: D102
    @property
    def plan(self) -> str: ...  # noqa: D102
    @property
    def hidden(self) -> Hidden: ...  # noqa: D102
    @property
    def pooling(self) -> Pooling: ...  # noqa: D102
    @property
    def activation(self) -> Activation: ...  # noqa: D102
    @property
    def dropout(self) -> float: ...  # noqa: D102
    @property
    def affine(self) -> bool: ...  # noqa: D102


def is_vgg8b(settings: Mapping[str, Any]) -> bool:
    """Whether settings, as in a record, describe VGG8b."""
    wanted = {"model": "stack", "topology": "vgg", "plan": "vgg8b", "hidden": [1024], "pooling": "max"}
    return all(settings.get(key, "stack" if key == "model" else None) == value for key, value in wanted.items())


def between(settings: Mapping[str, Any], activation: str) -> str:
    """Describe, in words, the layers between a stack's convolutions; settings as in a record."""
    if settings.get("topology") == "asge":
        return between_units(settings.get("pooling"), affine=bool(settings.get("affine")))
    dropout = f", dropout {settings.get('dropout')}" if settings.get("dropout") else ""
    return f"BatchNorm, {'ReLU' if activation == 'relu' else activation}{dropout}, {settings.get('pooling')} pooling"


class Stack(nn.Module):
    """Consecutive blocks and a linear classifier, initially zero.

    Args:
        shape: (C, H, W) of the images.
        classes: N.
        settings: see ``StackSettings``.
        pooled: whether the classifier reads the last h averaged over space, as ASGE's strategy `last` does; else it
            reads the whole output of the last block.
        gates: before each convolution, see ``asge.network.gates``; none by default.
        generator: draws initial weights, and later dropout, on the CPU.

    Attributes:
        blocks: convolutions, then hidden layers.
        activation_shapes: shape of every block's h for one image: (C, H, W), or (D,) of a hidden layer.

    Raises:
        ValueError: if topology and settings do not fit.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        settings: StackSettings,
        *,
        pooled: bool = False,
        gates: Sequence[nn.Module | None] = (),
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if settings.topology == "asge" and (settings.hidden or settings.dropout):
            raise ValueError("topology 'asge' has neither hidden layers nor dropout: hidden must be [], dropout 0")
        if settings.topology == "asge" and settings.activation != "relu":
            raise ValueError(f"topology 'asge' has ReLU for its activation: it cannot be {settings.activation!r}")
        if settings.topology == "vgg" and settings.affine:
            raise ValueError("affine has no effect with topology 'vgg', whose BatchNorm has gamma and beta always")
        if pooled and settings.hidden:
            raise ValueError("head 'pooled' averages maps: hidden must be [], since hidden layers have none")
        layers = parse_plan(settings.plan, shape)
        self._pooled = pooled
        self.blocks: list[Block] = [
            _convolution(layer, settings, gate, generator, first=index == 0)
            for index, (layer, gate) in enumerate(zip(layers, gates or [None] * len(layers), strict=True))
        ]
        features = layers[-1].channels if pooled else math.prod(layers[-1].output)
        for units in settings.hidden:
            self.blocks.append(_hidden(features, units, settings, generator))
            features = units
        self.activation_shapes: list[tuple[int, ...]] = [
            *((layer.channels, layer.height, layer.width) for layer in layers),
            *((units,) for units in settings.hidden),
        ]
        self._blocks = nn.ModuleList(self.blocks)
        self.classifier = nn.Linear(features, classes)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def activations(self, images: Tensor) -> Iterator[Tensor]:
        """h_1 .. h_L for images (B, C, H, W), as a generator."""
        x = images
        for index, block in enumerate(self.blocks, start=1):
            h = block.activate(x)
            yield h
            if index < len(self.blocks):
                x = block.propagate(h)

    def classify(self, h: Tensor) -> Tensor:
        """Logits (B, N) from the last block's h."""
        logits: Tensor = self.classifier(average(h) if self._pooled else self.blocks[-1].propagate(h).flatten(1))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, N) for images (B, C, H, W)."""
        for h in self.activations(images):
            last = h
        return self.classify(last)


def _convolution(
    layer: Layer, settings: StackSettings, gate: nn.Module | None, generator: torch.Generator, *, first: bool
) -> Block:
    if settings.topology == "asge":
        return ConvUnit(
            layer.in_channels,
            layer.channels,
            layer.pool,
            stride=layer.stride,
            pooling=settings.pooling,
            gate=gate,
            affine=settings.affine and not first,
            generator=generator,
        )
    return VGGBlock(
        nn.Conv2d(layer.in_channels, layer.channels, kernel_size=3, padding=1, stride=layer.stride),
        nn.BatchNorm2d(layer.channels),
        pool=layer.pool,
        pooling=settings.pooling,
        activation=settings.activation,
        dropout=settings.dropout,
        gate=gate,
        generator=generator,
    )


def _hidden(features: int, units: int, settings: StackSettings, generator: torch.Generator) -> VGGBlock:
    return VGGBlock(
        nn.Linear(features, units),
        nn.BatchNorm1d(units),
        activation=settings.activation,
        dropout=settings.dropout,
        generator=generator,
    )
