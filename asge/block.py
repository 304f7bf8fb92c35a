"""One ASGE block (arXiv 2509.12394).

    Y_l = ReLU(Conv(X_l))                                X_l is detached: no gradient leaves a block
    branch 1:  X_{l+1} = LayerNorm_C(RMSPool_s(Y_l))     feeds the next block
    branch 2:  g_l = encode(Y_l)                         spatial goodness
               a_l = W_l g_l + b_l                       W_l, b_l drawn once, never trained
               L_l = CE(a_l, label)                      trains Conv's parameters (and gamma and beta of the LayerNorm
                                                         before it and the gate of its channels, if there are any),
                                                         and nothing else

Shapes: B images, C channels, H x W pixels, N classes, P patches per side.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from asge.goodness import Reduction, spatial_goodness
from asge.layers.pooling import Pooling, pool2d

Projection = Literal["signs", "gaussian"]
LAYER_NORM_EPS = 1e-5


class ConvUnit(nn.Module):
    """Convolution, ReLU, pooling, LayerNorm: the layers that ASGE shares with backprop on ASGE's topology.

    LayerNorm runs over the channels of every pixel. Its gamma and beta belong to the unit that reads it, since in ASGE
    no gradient reaches the block that it ends; without them they are the constants 1 and 0.

    Args:
        in_channels, out_channels: of the 3x3 convolution (padding 1).
        pool: side of the pooling window after the convolution; 1 for none.
        stride: of the convolution.
        pooling: kind of pooling, see ``asge.pooling.pool2d``.
        gate: of the input's channels, before the convolution, see ``asge.gating``; None for none.
        affine: gamma and beta of the LayerNorm that the input comes from.
        generator: draws the convolution's first weights.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        pool: int,
        *,
        stride: int = 1,
        pooling: Pooling = "rms",
        gate: nn.Module | None = None,
        affine: bool = False,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(in_channels, 1, 1)) if affine else None
        self.beta = nn.Parameter(torch.zeros(in_channels, 1, 1)) if affine else None
        self.gate = gate
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, stride=stride)
        self.conv.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu", generator=generator)
        self.pool = pool
        self.pooling: Pooling = pooling

    def activate(self, x: Tensor) -> Tensor:
        """Y = ReLU(Conv(X)): (B, C, H, W) -> (B, C', H, W)."""
        return self.convolve(self.prepare(x))

    def prepare(self, x: Tensor) -> Tensor:
        """The convolution's input: X, rescaled and gated, (B, C, H, W)."""
        x = self.rescale(x)
        return x if self.gate is None else self.gate(x)

    def rescale(self, x: Tensor) -> Tensor:
        """Apply gamma and beta of the preceding LayerNorm to X, (B, C, H, W)."""
        if self.gamma is None or self.beta is None:
            return x
        return torch.addcmul(self.beta, x, self.gamma)

    def convolve(self, x: Tensor) -> Tensor:
        """Y from the output of ``prepare``; ``activate`` is both: (B, C, H, W) -> (B, C', H, W)."""
        return F.relu(self.conv(x), inplace=True)

    def propagate(self, y: Tensor) -> Tensor:
        """X of the next block: (B, C', H, W) -> (B, C', H // pool, W // pool)."""
        return normalize(pool2d(y, self.pool, self.pooling) if self.pool > 1 else y)


def between_units(pooling: object, *, affine: bool) -> str:
    """Describe, in words, the layers between the convolutions of such units."""
    trained = "trained gamma and beta" if affine else "no gamma and beta"
    return f"ReLU, {pooling} pooling, LayerNorm ({trained})"


def normalize(pooled: Tensor) -> Tensor:
    """LayerNorm over the channels of every pixel, (B, C, H, W)."""
    by_pixel = pooled.permute(0, 2, 3, 1)
    return F.layer_norm(by_pixel, by_pixel.shape[-1:], eps=LAYER_NORM_EPS).permute(0, 3, 1, 2)


class ASGEBlock(nn.Module):
    """A convolution that learns from the spatial goodness of its own activations.

    Args:
        in_channels, out_channels: of the 3x3 convolution (padding 1).
        patches: patches per side of the encoding.
        classes: N.
        pool, stride, pooling, gate: see ``ConvUnit``; a gate is trained by the block's own loss.
        affine: see ``ConvUnit``; gamma and beta are trained by the block's own loss too.
        reduction: "mean" or "sum" of squares in a patch.
        projection: "signs" (equally likely +1 and -1) or "gaussian", for the fixed W_l.
        scale: W_l is divided by sqrt(C * P * P) and multiplied by this: the temperature of the local softmax.
        generator: draws the convolution's first weights, and W_l.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        patches: int,
        classes: int,
        pool: int = 1,
        stride: int = 1,
        pooling: Pooling = "rms",
        gate: nn.Module | None = None,
        affine: bool = False,
        reduction: Reduction = "mean",
        projection: Projection = "signs",
        scale: float = 1.0,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.unit = ConvUnit(
            in_channels,
            out_channels,
            pool,
            stride=stride,
            pooling=pooling,
            gate=gate,
            affine=affine,
            generator=generator,
        )
        self.patches = patches
        self.reduction: Reduction = reduction
        dimension = out_channels * patches * patches
        draw = torch.randn(classes, dimension, generator=generator)
        if projection == "signs":
            draw = torch.where(draw < 0, -1.0, 1.0)
        elif projection != "gaussian":
            raise ValueError(f"projection must be 'signs' or 'gaussian', got {projection!r}")
        self.register_buffer("weight", draw * (scale / math.sqrt(dimension)))
        self.register_buffer("bias", torch.zeros(classes))

    def activate(self, x: Tensor) -> Tensor:
        """Y_l: (B, C, H, W) -> (B, C', H, W)."""
        return self.unit.activate(x)

    def propagate(self, y: Tensor) -> Tensor:
        """Branch 1, X_{l+1}: (B, C', H, W) -> (B, C', H', W')."""
        return self.unit.propagate(y)

    def local_logits(self, y: Tensor) -> Tensor:
        """Branch 2, a_l = W_l g_l + b_l: (B, C', H, W) -> (B, N). Y is taken before pooling and normalisation."""
        return F.linear(spatial_goodness(y, self.patches, self.reduction), self.weight, self.bias)
