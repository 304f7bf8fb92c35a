"""A layer of CwC (arXiv 2312.12668), the goodness of its classes, and its losses; see ``baselines.cwc``.

Shapes: B images, C channels, H x W pixels, N classes.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from asge.common.tensors import at_least_float32, wide

BATCH_NORM_EPS = 1e-4
BATCH_NORM_MOMENTUM = 0.1
PVN_MARGIN = 2.0
PVN_SHARE = 0.72
"""Weight of PvN in "ce+pvn"."""
LossName = Literal["ce", "pvn", "ce+pvn"]


class CwCLayer(nn.Module):
    """Convolution, ReLU, optional max pool, BatchNorm."""

    def __init__(
        self, in_channels: int, out_channels: int, *, groups: int, pool: bool, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, groups=groups)
        self.conv.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu", generator=generator)
        self.pool = pool
        self.norm = nn.BatchNorm2d(out_channels, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W'), half the size if the layer pools."""
        out: Tensor = self.norm(self._rectified(x))
        return out

    def compete(self, x: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """``out = self(x)`` in training mode and ``class_goodness(out, classes)``, computed from sums over z.

        With z the input of BatchNorm, S = sum of z and Q = sum of z^2 over the P pixels of an image's channel:

            out = a z + b,   a = gamma / sqrt(var + eps),   b = beta - a mean       mean, var from the batch's S and Q
            sum of out^2 = a^2 Q + 2 a b S + P b^2

        G depends on z only through S and Q, so that dG/dz = dG/dS + 2 z dG/dQ: one pass over z instead of the passes
        for the gradients of BatchNorm and of the squares. Equal up to the rounding of S and Q: where a channel's mean
        is so large that var < 1e-5 mean^2, float32 keeps few digits of var.

        Args:
            x: the layer's input, (B, C, H, W).
            classes: N.

        Returns:
            out, (B, C', H', W'), and G, (B, N). The running statistics are updated.
        """
        z = self._rectified(x)
        batch, channels, height, width = z.shape
        pixels, norm = height * width, self.norm
        sums, squares = (each.double() for each in _Sums.apply(z))
        mean = sums.sum(0) / (batch * pixels)
        variance = (squares.sum(0) / (batch * pixels) - mean.square()).clamp(min=0)
        a = norm.weight * (variance + norm.eps).rsqrt()
        b = norm.bias - a * mean
        energy = a.square() * squares + 2 * a * b * sums + pixels * b.square()
        goodness = energy.reshape(batch, classes, -1).sum(2) / (channels // classes * pixels)
        self._remember(mean.detach(), variance.detach(), batch * pixels)
        dtype = wide(z)
        out = torch.addcmul(_by_channel(b).to(dtype), _by_channel(a).to(dtype), z.to(dtype)).to(z.dtype)
        return out, goodness.to(dtype)

    def _rectified(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        if self.pool:  # before the ReLU, with which it commutes: a quarter of the values to rectify
            y = F.max_pool2d(y, 2)
        return F.relu(y, inplace=True)

    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Update BatchNorm's running statistics with those of ``count`` values per channel."""
        statistics = dict(self.norm.named_buffers())  # for the type checker, attributes might be None
        mean, variance = mean.to(statistics["running_mean"]), variance.to(statistics["running_var"])
        statistics["running_mean"].lerp_(mean, BATCH_NORM_MOMENTUM)
        statistics["running_var"].lerp_(variance * (count / max(count - 1, 1)), BATCH_NORM_MOMENTUM)
        statistics["num_batches_tracked"].add_(1)


class _Sums(torch.autograd.Function):
    """Sums over space of z and of z^2, (B, C, H, W) -> two of (B, C), in float32 at least."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(z)
        dtype = wide(z)
        return z.sum((2, 3), dtype=dtype), z.to(dtype).square().sum((2, 3))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        by_sum, by_squares = (_by_channel(gradient) for gradient in gradients)
        return torch.addcmul(by_sum, by_squares, z.to(by_sum.dtype), value=2).to(z.dtype)


def _by_channel(x: Tensor) -> Tensor:
    """(..., C) -> (..., C, 1, 1)."""
    return x[..., None, None]


def class_goodness(x: Tensor, classes: int) -> Tensor:
    """G: mean square over each class's group of channels and over space, (B, C, H, W) -> (B, N)."""
    batch, channels, height, width = x.shape
    return at_least_float32(x).reshape(batch, classes, channels // classes, height, width).square().mean((2, 3, 4))


def pvn_loss(goodness: Tensor, labels: Tensor) -> Tensor:
    """PvN of goodness (B, N) and labels (B,): the positive group against the mean of the negative ones, a scalar."""
    classes = goodness.shape[1]
    positive = goodness.gather(1, labels[:, None])[:, 0]
    negative = (goodness.sum(1) - positive) / (classes - 1)
    return (F.softplus(PVN_MARGIN - positive).mean() + F.softplus(negative - PVN_MARGIN).mean()) / 2


def goodness_loss(goodness: Tensor, labels: Tensor, name: LossName) -> Tensor:
    """A layer's loss by name, from goodness (B, N) and labels (B,) int64: a scalar."""
    if name == "ce":
        return F.cross_entropy(goodness, labels)
    if name == "pvn":
        return pvn_loss(goodness, labels)
    return (1 - PVN_SHARE) * F.cross_entropy(goodness, labels) + PVN_SHARE * pvn_loss(goodness, labels)
