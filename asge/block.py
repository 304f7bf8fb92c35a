"""One ASGE block (arXiv 2509.12394).

    Y_l = ReLU(Conv(X_l))                                X_l is detached: no gradient leaves a block
    branch 1:  X_{l+1} = LayerNorm_C(RMSPool_s(Y_l))     feeds the next block
    branch 2:  g_l = encode(Y_l)                         spatial goodness
               a_l = W_l g_l + b_l                       W_l, b_l drawn once, never trained
               L_l = CE(a_l, label)                      trains Conv's parameters (and gamma and beta of the LayerNorm
                                                         before it and the gate of its channels, if there are any),
                                                         and nothing else

Branch 1 in the authors' code is X_{l+1} = RMSNorm(Dropout(AvgPool_s(Y_l))), its norm over C, H and W of an image.

Shapes: B images, C channels, H x W pixels, N classes, P patches per side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from asge.common.tensors import at_least_float32, in_full_precision, wide
from asge.common.types import check_choice
from asge.goodness import Goodness, Reduction, spatial_goodness
from asge.layers.pooling import Pooling, pool2d

Projection = Literal["signs", "gaussian"]
ProjectionScale = Literal["width", "classes"]
Bias = Literal["zero", "gaussian"]
Normalization = Literal["layer", "rms"]
Features = Literal["activations", "energies", "propagated"]
LAYER_NORM_EPS = 1e-5
RMS_EPS = math.exp(-50)
"""Added to the root mean square that an image is divided by, as in the authors' code: a black image stays black."""


class ConvUnit(nn.Module):
    """Convolution, ReLU, pooling, normalisation: the layers that ASGE shares with backprop on ASGE's topology.

    LayerNorm runs over the channels of every pixel. Its gamma and beta belong to the unit that reads it, since in ASGE
    no gradient reaches the block that it ends; without them they are the constants 1 and 0.

    Args:
        in_channels, out_channels: of the 3x3 convolution (padding 1).
        pool: side of the pooling window after the convolution; 1 for none.
        stride: of the convolution.
        pooling: kind of pooling, see ``asge.pooling.pool2d``.
        normalization: "layer", or "rms": the image is divided by its root mean square over C, H and W.
        gate: of the input's channels, before the convolution, see ``asge.gating``; None for none.
        affine: gamma and beta of the normalisation that the input comes from.
        generator: draws the convolution's first weights.

    Raises:
        ValueError: for an unknown normalisation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        pool: int,
        *,
        stride: int = 1,
        pooling: Pooling = "rms",
        normalization: Normalization = "layer",
        gate: nn.Module | None = None,
        affine: bool = False,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        check_choice("normalization", normalization, Normalization)
        self.gamma = nn.Parameter(torch.ones(in_channels, 1, 1)) if affine else None
        self.beta = nn.Parameter(torch.zeros(in_channels, 1, 1)) if affine else None
        self.gate = gate
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, stride=stride)
        self.conv.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu", generator=generator)
        self.pool = pool
        self.pooling: Pooling = pooling
        self.normalization: Normalization = normalization

    def activate(self, x: Tensor) -> Tensor:
        """Y = ReLU(Conv(X)): (B, C, H, W) -> (B, C', H, W)."""
        return self.convolve(self.prepare(x))

    def prepare(self, x: Tensor) -> Tensor:
        """The convolution's input: X, rescaled and gated, (B, C, H, W)."""
        x = self.rescale(x)
        return x if self.gate is None else self.gate(x)

    def rescale(self, x: Tensor) -> Tensor:
        """Apply gamma and beta of the preceding normalisation to X, (B, C, H, W)."""
        if self.gamma is None or self.beta is None:
            return x
        return torch.addcmul(self.beta, x, self.gamma)

    def convolve(self, x: Tensor) -> Tensor:
        """Y from the output of ``prepare``; ``activate`` is both: (B, C, H, W) -> (B, C', H, W)."""
        return F.relu(self.conv(x), inplace=True)

    def propagate(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """X of the next block: (B, C', H, W) -> (B, C', H // pool, W // pool).

        Args:
            y: activations.
            mask: of the dropout between pooling and normalisation, (B, C', H // pool, W // pool); None for none.
        """
        return self.normalize(pool2d(y, self.pool, self.pooling) if self.pool > 1 else y, mask)

    def normalize(self, pooled: Tensor, mask: Tensor | None = None) -> Tensor:
        """X of the next block from the pooled Y, (B, C', H', W'); ``mask`` as in ``propagate``."""
        return NORMALIZATIONS[self.normalization](pooled if mask is None else pooled * mask)


def between_units(pooling: object, *, affine: bool, normalization: object = "layer", dropout: float = 0.0) -> str:
    """Describe, in words, the layers between the convolutions of such units."""
    trained = "trained gamma and beta" if affine else "no gamma and beta"
    name = "LayerNorm" if normalization == "layer" else "RMS over the image"
    return f"ReLU, {pooling} pooling, {f'dropout {dropout}, ' if dropout else ''}{name} ({trained})"


def normalize_by_layer(pooled: Tensor) -> Tensor:
    """LayerNorm over the channels of every pixel, (B, C, H, W)."""
    by_pixel = pooled.permute(0, 2, 3, 1)
    return F.layer_norm(by_pixel, by_pixel.shape[-1:], eps=LAYER_NORM_EPS).permute(0, 3, 1, 2)


def normalize_by_rms(pooled: Tensor) -> Tensor:
    """Every image divided by its root mean square over channels and pixels, (B, C, H, W)."""
    norms: Tensor = torch.linalg.vector_norm(pooled, dim=(1, 2, 3), keepdim=True)
    return pooled / (norms / math.sqrt(pooled[0].numel()) + RMS_EPS)


NORMALIZATIONS = {"layer": normalize_by_layer, "rms": normalize_by_rms}


def dropout_mask(shape: Sequence[int], dropout: float, seed: int, like: Tensor) -> Tensor:
    """A mask of dropout: 0 with probability ``dropout``, else 1 / (1 - dropout).

    Args:
        shape: (B, C, H, W).
        dropout: from 0 to below 1.
        seed: the mask is a function of it, on one kind of device.
        like: gives dtype and device.

    Returns:
        (B, C, H, W), channels last.
    """
    batch, channels, height, width = shape
    generator = torch.Generator(like.device).manual_seed(seed)
    by_pixel = torch.empty(batch, height, width, channels, dtype=like.dtype, device=like.device)
    return by_pixel.bernoulli_(1 - dropout, generator=generator).div_(1 - dropout).permute(0, 3, 1, 2)


class ASGEBlock(nn.Module):
    """A convolution that learns from the spatial goodness of its own activations.

    Args:
        in_channels, out_channels: of the 3x3 convolution (padding 1).
        patches: patches per side of the encoding.
        classes: N.
        pool, stride, pooling, normalization, gate: see ``ConvUnit``; a gate is trained by the block's own loss.
        dropout: probability, in training, of dropping an element of what feeds the next block.
        affine: see ``ConvUnit``; gamma and beta are trained by the block's own loss too.
        reduction: "mean" or "sum" of squares in a patch.
        goodness: "squares", or "activations", whose read-out is linear in Y: a control.
        projection: "signs" (equally likely +1 and -1) or "gaussian", for the fixed W_l.
        scale, projection_scale: W_l is multiplied by ``scale`` and divided by sqrt(C * P * P) ("width") or sqrt(N)
            ("classes"): the temperature of the local softmax.
        projection_bias: the fixed b_l: "zero", or "gaussian", with the scale of W_l.
        label_smoothing: share of the label's probability in L_l that is spread over all classes.
        features: what classifiers read of the block, averaged over every map: Y_l ("activations"), its squares
            ("energies"), or X_{l+1} ("propagated").
        generator: draws the convolution's first weights, W_l and b_l.

    Raises:
        ValueError: for an unknown choice, or a dropout outside [0, 1).
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
        normalization: Normalization = "layer",
        dropout: float = 0.0,
        gate: nn.Module | None = None,
        affine: bool = False,
        reduction: Reduction = "mean",
        goodness: Goodness = "squares",
        projection: Projection = "signs",
        scale: float = 1.0,
        projection_scale: ProjectionScale = "width",
        projection_bias: Bias = "zero",
        label_smoothing: float = 0.0,
        features: Features = "activations",
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be from 0 to below 1, got {dropout}")
        check_choice("goodness", goodness, Goodness)
        check_choice("features", features, Features)
        check_choice("projection", projection, Projection)
        check_choice("projection_scale", projection_scale, ProjectionScale)
        check_choice("projection_bias", projection_bias, Bias)
        self.unit = ConvUnit(
            in_channels,
            out_channels,
            pool,
            stride=stride,
            pooling=pooling,
            normalization=normalization,
            gate=gate,
            affine=affine,
            generator=generator,
        )
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.features: Features = features
        self.patches = patches
        self.reduction: Reduction = reduction
        self.goodness: Goodness = goodness
        dimension = out_channels * patches * patches
        draw = torch.randn(classes, dimension, generator=generator)
        if projection == "signs":
            draw = torch.where(draw < 0, -1.0, 1.0)
        factor = scale / math.sqrt(dimension if projection_scale == "width" else classes)
        self.register_buffer("weight", draw * factor)
        gaussian = projection_bias == "gaussian"
        bias = torch.randn(classes, generator=generator) * factor if gaussian else torch.zeros(classes)
        self.register_buffer("bias", bias)

    def activate(self, x: Tensor) -> Tensor:
        """Y_l: (B, C, H, W) -> (B, C', H, W)."""
        return self.unit.activate(x)

    def propagate(self, y: Tensor, seed: int | None = None) -> Tensor:
        """Branch 1, X_{l+1}: (B, C', H, W) -> (B, C', H', W'); without a seed, nothing is dropped."""
        return self.unit.propagate(y, self.mask(y, seed))

    def mask(self, y: Tensor, seed: int | None) -> Tensor | None:
        """The mask of dropout for activations Y, (B, C', H', W'); None without dropout, or without a seed."""
        if seed is None or not self.dropout:
            return None
        pooled = (side // self.unit.pool for side in y.shape[2:])
        return dropout_mask((*y.shape[:2], *pooled), self.dropout, seed, y)

    def local_logits(self, y: Tensor) -> Tensor:
        """Branch 2, a_l = W_l g_l + b_l: (B, C', H, W) -> (B, N). Y is taken before pooling and normalisation."""
        with in_full_precision(y.device):
            g = spatial_goodness(y, self.patches, self.reduction, self.goodness)
            return F.linear(g, self.weight, self.bias)

    def local_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """L_l, a scalar, from a_l (B, N) and labels (B,)."""
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def pooled(self, y: Tensor, x: Tensor | None) -> Tensor:
        """The classifiers' features, (B, C'), from Y_l and, where they are of what is propagated, X_{l+1}."""
        if self.features == "propagated":
            assert x is not None  # noqa: S101 -- for the type checker
            return pooled(x)
        return pooled(at_least_float32(y).square() if self.features == "energies" else y)


def pooled(y: Tensor) -> Tensor:
    """Global average pool: (B, C, H, W) -> (B, C), in float32 at least."""
    return y.mean((2, 3), dtype=wide(y))
