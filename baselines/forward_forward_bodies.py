"""The networks that FF trains: Hinton's perceptron, and a stack of convolutions on ASGE's channel plans.

    perceptron      label in the first N values of the flat image;  h = ReLU(W norm(x) + b)
    convolutions    label in N extra planes, constant over space;    h = ReLU(Conv(norm(x))), pooled where the plan says
                    or in one plane, a random pattern per class (SymBa's intrinsic class pattern, arXiv 2303.08418)

Prediction needs the first layer under every label. It is linear before its ReLU, and the length of an input does not
depend on which label it bears: W norm(x) is a part of the image, computed once, plus a part of each label.

norm divides all of a sample's activities by their root mean square, so that only their direction is passed on. FF has
no official form for convolutions; this one is the perceptron's with the layers replaced. Shapes: B images, N classes,
D values of a flat image, C channels, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from asge.common.tensors import at_least_float32, wide
from asge.layers.pooling import Pooling, pool2d
from asge.network import parse_plan

NORM_EPS = 1e-8


def normalize_length(x: Tensor) -> Tensor:
    """Each sample (of any shape) divided by the root mean square of its values: a row (D,) gets the length sqrt(D)."""
    x = at_least_float32(x)
    return x / (x.square().mean(tuple(range(1, x.dim())), keepdim=True).sqrt() + NORM_EPS)


def overlay(flat: Tensor, label: Tensor) -> Tensor:
    """Replace the first N values of images (B, D) by ``label`` (B, N) or (N,); returns a copy."""
    out = flat.clone()
    out[:, : label.shape[-1]] = label
    return out


class Layers(nn.Module):
    """Linear layers or convolutions, each followed by its own activation.

    Attributes:
        layers: the linear layers or convolutions.
        unit_counts: units per layer whose mean activity peer normalisation tracks; of convolutions, channels.
        feature_counts: values per layer that the read-out reads.
        largest: number of values of one sample's largest h.
        passing: whether the gradient passes a closed ReLU.
    """

    layers: nn.ModuleList
    unit_counts: list[int]
    feature_counts: list[int]
    largest: int
    passing: bool = False

    def activate(self, index: int, x: Tensor) -> Tensor:
        """The h of a layer: (B, D) -> (B, D'), or (B, C, H, W) -> (B, C', H, W)."""
        z: Tensor = self.layers[index](normalize_length(x))
        if self.passing and torch.is_grad_enabled():
            passed: Tensor = _PassingReLU.apply(z)
            return passed
        return F.relu(z)


class _PassingReLU(torch.autograd.Function):
    """ReLU with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:  # noqa: ARG004
        return F.relu(z)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return gradient


class Perceptron(Layers):
    """Linear layers: Hinton's perceptron.

    Args:
        shape: (C, H, W) of the images.
        classes: N.
        hidden: widths of the layers.
        generator: draws the first weights.

    Raises:
        ValueError: if the label does not fit into the images.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, hidden: Sequence[int], *, generator: torch.Generator
    ) -> None:
        super().__init__()
        inputs = math.prod(shape)
        if inputs <= classes:
            raise ValueError(f"FF writes {classes} label values into images of {inputs} values")
        self._classes = classes
        self.layers = nn.ModuleList()
        for units in hidden:
            layer = nn.Linear(inputs, units)
            nn.init.normal_(layer.weight, std=units**-0.5, generator=generator)
            nn.init.zeros_(layer.bias)
            self.layers.append(layer)
            inputs = units
        self.unit_counts = self.feature_counts = list(hidden)
        self.largest = max(hidden)

    def labelled(self, images: Tensor, label: Tensor) -> Tensor:
        """Flatten images to (B, D) and write a label (B, N), or one (N,) for all, into their first values."""
        return overlay(images.flatten(1), label)

    def activate_under_all(self, images: Tensor, label_value: float) -> Tensor:
        """The first h of images (B, C, H, W) under each of the N labels: (B N, D'), labels change fastest."""
        layer, flat = cast(nn.Linear, self.layers[0]), images.flatten(1)
        weight = layer.weight
        rest = flat[:, self._classes :]
        length = (rest.square().sum(1, keepdim=True) + label_value**2).div_(flat.shape[1]).sqrt_().add_(NORM_EPS)
        by_image = F.linear(rest, weight[:, self._classes :])
        by_label = label_value * weight[:, : self._classes].T
        z = (by_image[:, None] + by_label).div_(length[:, None]).add_(layer.bias)
        return F.relu_(z.flatten(0, 1))

    def propagate(self, index: int, h: Tensor) -> Tensor:  # noqa: ARG002
        """The next layer's x."""
        return h

    def features(self, h: Tensor) -> Tensor:
        """The read-out's input from a layer's h: its direction, (B, D)."""
        return normalize_length(h)

    def mean_activity(self, h: Tensor) -> Tensor:
        """Mean activity of every unit over the batch, (D,)."""
        return h.mean(0, dtype=wide(h))


class Convolutions(Layers):
    """3x3 convolutions of a channel plan.

    Args:
        shape: (C, H, W) of the images.
        classes: N.
        plan: see ``asge.network.parse_plan``.
        pooling: see ``asge.pooling.pool2d``.
        patterned: whether a label is a pattern.
        generator: draws the patterns and the first weights.

    Attributes:
        patterns: of all classes, (N, H W), with a mean square of 1; None where labels are planes.
    """

    patterns: Tensor | None

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        plan: str,
        *,
        pooling: Pooling,
        patterned: bool = False,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        layers = parse_plan(plan, (shape[0] + (1 if patterned else classes), *shape[1:]))
        self._channels = shape[0]
        drawn = torch.randn(classes, shape[1] * shape[2], generator=generator) if patterned else None
        self.register_buffer("patterns", drawn if drawn is None else normalize_length(drawn))
        self.layers = nn.ModuleList()
        for layer in layers:
            conv = nn.Conv2d(layer.in_channels, layer.channels, kernel_size=3, padding=1, stride=layer.stride)
            nn.init.normal_(conv.weight, std=(9 * layer.channels) ** -0.5, generator=generator)
            nn.init.constant_(conv.bias, 0.0)  # type: ignore[arg-type]  # it has one
            self.layers.append(conv)
        self.to(memory_format=torch.channels_last)
        self._pools = [layer.pool for layer in layers]
        self._pooling: Pooling = pooling
        self.unit_counts = self.feature_counts = [layer.channels for layer in layers]
        self.largest = max(layer.channels * layer.height * layer.width for layer in layers)

    def labelled(self, images: Tensor, label: Tensor) -> Tensor:
        """Append a label (B, N), or one (N,) for all, to images (B, C, H, W) as planes: (B, C + N or 1, H, W)."""
        label = label.expand(len(images), -1)
        if self.patterns is None:
            planes = label[:, :, None, None].expand(-1, -1, *images.shape[2:])
        else:
            planes = (label @ self.patterns).view(-1, 1, *images.shape[2:])
        return torch.cat([images, planes], dim=1).contiguous(memory_format=torch.channels_last)

    def activate_under_all(self, images: Tensor, label_value: float) -> Tensor:
        """The first h of images (B, C, H, W) under each of the N labels: (B N, C', H', W'), labels change fastest."""
        conv, channels = cast(nn.Conv2d, self.layers[0]), self._channels
        own, of_labels = conv.weight[:, :channels], conv.weight[:, channels:]
        pixels = images.shape[2:].numel()
        squares = images.square().sum((1, 2, 3)) + label_value**2 * pixels
        length = (squares / ((channels + of_labels.shape[1]) * pixels)).sqrt_().add_(NORM_EPS)
        by_image = F.conv2d(images, own, None, conv.stride, 1)
        if self.patterns is None:
            plane = of_labels.new_ones(1, 1, *images.shape[2:])
            kernels = of_labels.transpose(0, 1).flatten(0, 1)[:, None]  # (N C', 1, k, k)
            by_label = F.conv2d(plane, kernels, None, conv.stride, 1).view(-1, *by_image.shape[1:])
        else:
            planes = self.patterns.view(-1, 1, *images.shape[2:])
            by_label = F.conv2d(planes, of_labels, None, conv.stride, 1)
        by_label = label_value * by_label
        z = (by_image[:, None] + by_label).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        z.div_(length.repeat_interleave(len(by_label))[:, None, None, None])
        return F.relu_(z.add_(cast(Tensor, conv.bias)[:, None, None]))

    def propagate(self, index: int, h: Tensor) -> Tensor:
        """The next layer's x, pooled where the plan says so."""
        return pool2d(h, self._pools[index], self._pooling) if self._pools[index] > 1 else h

    def features(self, h: Tensor) -> Tensor:
        """The read-out's input from a layer's h: the mean over space of its direction, (B, C)."""
        return normalize_length(h).mean((2, 3))

    def mean_activity(self, h: Tensor) -> Tensor:
        """Mean activity of every channel over batch and space, (C,)."""
        return h.mean((0, 2, 3), dtype=wide(h))


Body: TypeAlias = Perceptron | Convolutions
