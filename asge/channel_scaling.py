"""A factor for every channel, made from the channel's own energy, without maps of squares or of products.

    e_c = sum_{h,w} x_c^2          de: dL/dx_c += 2 x_c dL/de_c
    y_c = s_c x_c                  dL/dx_c += s_c dL/dy_c,  dL/ds_c = sum_{h,w} x_c dL/dy_c

Autograd would write x^2, 2 x and x dL/dy out as maps of their own. Both functions can be differentiated twice.

Shapes: B images, C channels, any number of dimensions behind them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SLICE_BYTES = 2**20
"""About as much of x dL/dy is made at a time as a core's own cache holds, on the CPU."""


def energies(x: Tensor) -> Tensor:
    """e: (B, C, ...) -> (B, C), same dtype, which should be float32 or wider."""
    if torch.compiler.is_compiling():
        return x.flatten(2).square().sum(2)
    result: Tensor = _Energies.apply(x)
    return result


def scale(x: Tensor, scales: Tensor) -> Tensor:
    """y: (B, C, ...) and (B, C), same dtype -> (B, C, ...)."""
    if torch.compiler.is_compiling():
        return x * _as_map(scales, x)
    result: Tensor = _Scaled.apply(x, scales)
    return result


class _Energies(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        cells = x.flatten(2)
        if cells.is_contiguous() and cells.shape[2] > 0:  # one pass, nothing written; slow with channels last
            squares: Tensor = torch.linalg.vector_norm(cells, dim=2).square_()
            return squares
        return cells.square().sum(2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return scale(x, 2 * gradients[0])


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scales: Tensor) -> Tensor:
        ctx.save_for_backward(x, scales)
        return x * _as_map(scales, x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (gradient,) = gradients
        x, scales = ctx.saved_tensors
        by_x = scale(gradient, scales) if ctx.needs_input_grad[0] else None
        by_scales = _dots(x, gradient) if ctx.needs_input_grad[1] else None
        return by_x, by_scales


def _as_map(scales: Tensor, x: Tensor) -> Tensor:
    return scales.view(*scales.shape, *(1,) * (x.dim() - 2))


def _dots(x: Tensor, y: Tensor) -> Tensor:
    """Sum of x y over each channel: (B, C)."""
    count = max(1, SLICE_BYTES // max(1, x[:1].nbytes)) if x.device.type == "cpu" else max(1, len(x))
    if count >= len(x):
        return (x * y).flatten(2).sum(2)
    return torch.cat([(a * b).flatten(2).sum(2) for a, b in zip(x.split(count), y.split(count), strict=True)])
