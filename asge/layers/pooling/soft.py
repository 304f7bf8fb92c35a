"""SoftPool (Stergiou, Poppe, Kalliatakis, ICCV 2021, arXiv 2101.00440).

Over a window R, per channel and sample:

    w_i = exp(a_i) / sum_{j in R} exp(a_j)          out = sum_{i in R} w_i a_i

    gradient="exact"    d out / d a_i = w_i (1 + a_i - out)
    gradient="paper"    d out / d a_i = w_i, as if the weights were constant: the paper's rule

Always avg <= out <= max. Exponentials are taken of a_i minus the maximum of the window, in float32 at least: exact for
any range of finite inputs. A cell of -inf has weight 0 and gradient 0, as padding has; a window of nothing else is
-inf, without a gradient. +inf and NaN make a window NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from asge.common.tensors import at_least_float32, in_full_precision
from asge.layers.pooling.windows import Size, Windows

Gradient = Literal["exact", "paper"]


def soft_pool1d(
    x: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    gradient: Gradient = "exact",
) -> Tensor:
    """SoftPool over (B, C, L), or without B; same dtype, arguments and errors as ``F.max_pool1d``."""
    return _soft_pool(x, 1, F.max_pool1d, kernel_size, stride, padding, ceil_mode, gradient)


def soft_pool2d(
    x: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    gradient: Gradient = "exact",
) -> Tensor:
    """SoftPool over (B, C, H, W), or without B; same dtype, arguments and errors as ``F.max_pool2d``."""
    return _soft_pool(x, 2, F.max_pool2d, kernel_size, stride, padding, ceil_mode, gradient)


def soft_pool3d(
    x: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    gradient: Gradient = "exact",
) -> Tensor:
    """SoftPool over (B, C, T, H, W), or without B; same dtype, arguments and errors as ``F.max_pool3d``."""
    return _soft_pool(x, 3, F.max_pool3d, kernel_size, stride, padding, ceil_mode, gradient)


def _soft_pool(
    x: Tensor,
    dimensions: int,
    max_pool: Callable[..., Tensor],
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    ceil_mode: bool,
    gradient: Gradient,
) -> Tensor:
    if gradient not in ("exact", "paper"):
        raise ValueError(f"gradient must be 'exact' or 'paper', got {gradient!r}")
    if not x.is_floating_point():
        raise TypeError(f"SoftPool takes maps of floats, got {x.dtype}")
    with in_full_precision(x.device):
        precise = at_least_float32(x)
        with torch.no_grad():  # any shift gives the same weights: that of the maximum makes none of them overflow
            shift = max_pool(precise, kernel_size, stride, padding, 1, ceil_mode)
        windows = Windows.of(x, shift, kernel_size, stride, padding, dimensions)
        pooled: Tensor = _SoftPool.apply(precise, shift, windows, gradient == "paper")[0]
        return pooled.to(x.dtype)


class _SoftPool(torch.autograd.Function):
    """SoftPool and the sum of its windows' exponentials; a gradient reaches the input through the first alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shift: Tensor, windows: Windows, paper: bool) -> tuple[Tensor, Tensor]:
        pooled, total = _forward(x, shift, windows)
        ctx.save_for_backward(x, shift, pooled, total)
        ctx.windows, ctx.paper = windows, paper
        ctx.mark_non_differentiable(total)
        return pooled, total

    @staticmethod
    def backward(ctx: Any, by_pooled: Tensor, _by_total: Tensor) -> tuple[Tensor, None, None, None]:
        x, shift, pooled, total = ctx.saved_tensors
        if torch.is_grad_enabled():  # the second derivative is asked for
            pooled, total = _forward(x, shift, ctx.windows)
        return _backward(by_pooled, x, shift, pooled, total, ctx.windows, paper=ctx.paper), None, None, None


def _forward(x: Tensor, shift: Tensor, windows: Windows) -> tuple[Tensor, Tensor]:
    """SoftPool of x and the sum of its windows' exponentials, shifted."""
    total: Tensor | None = None
    weighted: Tensor | None = None
    nothing = _nothing(x)
    highest = shift.clamp_min(nothing)
    for cell in windows.cells(windows.pad(x, nothing)):
        finite = cell.clamp_min(nothing)
        exponential = (finite - highest).exp()
        total = exponential if total is None else total + exponential
        weighted = exponential * finite if weighted is None else torch.addcmul(weighted, exponential, finite)
    assert total is not None  # noqa: S101 - a window has cells
    assert weighted is not None  # noqa: S101
    return torch.where(shift == -math.inf, shift, weighted / total), total


def _backward(
    by_pooled: Tensor, x: Tensor, shift: Tensor, pooled: Tensor, total: Tensor, windows: Windows, *, paper: bool
) -> Tensor:
    """The gradient with respect to x, given that with respect to its SoftPool."""
    nothing = _nothing(x)
    padded = windows.pad(x, nothing)
    by_padded = torch.zeros_like(padded)
    highest, empty = shift.clamp_min(nothing), shift == -math.inf
    scaled = torch.where(empty, 0, by_pooled / total)
    rest = 1 - torch.where(empty, 0, pooled)
    for cell, by_cell in zip(windows.cells(padded), windows.cells(by_padded), strict=True):
        finite = cell.clamp_min(nothing)
        weight = (finite - highest).exp() * scaled
        by_cell += weight if paper else weight * (rest + finite)
    return windows.crop(by_padded)


def _nothing(x: Tensor) -> float:
    """Padding value: low enough that its weight is 0, and finite, so that 0 times it is 0."""
    return torch.finfo(x.dtype).min / 2
