"""GCT's arithmetic (``asge.gating``, l2 norm and tanh) with its derivatives by hand, without maps between.

    e_c = sum_{h,w} x_c^2    r = sqrt(e + eps)    s = alpha r    q = 1 / sqrt(mean_c s^2 + eps)    n = s q
    g = 1 + tanh(gamma n + beta)                  y_c = g_c x_c

    dL/dl_c = (1 - tanh^2) sum_{h,w} x_c dL/dy_c                                 l = gamma n + beta
    dL/dn   = gamma dL/dl                 dL/ds = q (dL/dn - n mean_c(n dL/dn))
    dL/de   = alpha / (2 r) dL/ds         dL/dx_c = g_c dL/dy_c + 2 x_c dL/de_c

Autograd would write x^2, 2 x, x dL/dy and both terms of dL/dx out as maps, and take three times as many steps between.

Shapes: B images, C channels, any number of dimensions behind them; alpha, gamma and beta (C,); the rest (B, C).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SLICE_BYTES = 2**20
"""About as much of a map is worked on at a time as a core's own cache holds, on the CPU."""


def pays(x: Tensor, alpha: Tensor) -> bool:
    """Whether ``gated`` may take the place of autograd: nothing is compiled or in short floats."""
    return x.dtype == alpha.dtype and x.dtype in (torch.float32, torch.float64) and not torch.compiler.is_compiling()


def gated(x: Tensor, alpha: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    """y: (B, C, ...) -> (B, C, ...); can be differentiated twice."""
    result: Tensor = _Gated.apply(x, alpha, gamma, beta, eps)
    return result


def plainly_gated(x: Tensor, alpha: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    """What ``gated`` gives, by autograd."""
    s = alpha * (x.flatten(2).square().sum(2) + eps).sqrt()
    n = s / (s.square().mean(1, keepdim=True) + eps).sqrt()
    return x * _as_map(1 + (gamma * n + beta).tanh(), x)


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
        r = _energies(x).add_(eps).sqrt_()
        s = alpha * r
        q = s.square().mean(1, keepdim=True).add_(eps).rsqrt_()
        n = s.mul_(q)
        tanh = torch.addcmul(beta, gamma, n).tanh_()
        ctx.save_for_backward(x, alpha, gamma, beta, r, q, n, tanh)
        ctx.eps = eps
        return x * _as_map(tanh + 1, x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (by_y,) = gradients
        x, alpha, gamma, beta, r, q, n, tanh = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants the second derivative
            return *_by_autograd(x, alpha, gamma, beta, ctx.eps, by_y), None
        by_l = _dots(x, by_y) * (1 - tanh.square())
        by_n = gamma * by_l
        by_s = (by_n - n * (n * by_n).mean(1, keepdim=True)) * q
        by_x = None
        if ctx.needs_input_grad[0]:
            by_x = _sum_of_scaled(by_y, tanh + 1, x, alpha * by_s / r)
        return by_x, (by_s * r).sum(0), (by_l * n).sum(0), by_l.sum(0), None


def _by_autograd(
    x: Tensor, alpha: Tensor, gamma: Tensor, beta: Tensor, eps: float, by_y: Tensor
) -> tuple[Tensor | None, ...]:
    inputs = (x, alpha, gamma, beta)
    wanted = [each for each in inputs if each.requires_grad]
    y = plainly_gated(x, alpha, gamma, beta, eps)
    found = iter(torch.autograd.grad(y, wanted, by_y, create_graph=True))
    return tuple(next(found) if each.requires_grad else None for each in inputs)


def _as_map(factors: Tensor, x: Tensor) -> Tensor:
    return factors.view(*factors.shape, *(1,) * (x.dim() - 2))


def _slice_of(x: Tensor) -> int:
    """How many images are worked on at a time."""
    return max(1, SLICE_BYTES // max(1, x[:1].nbytes)) if x.device.type == "cpu" else max(1, len(x))


def _energies(x: Tensor) -> Tensor:
    """e: (B, C, ...) -> (B, C)."""
    cells = x.flatten(2)
    if cells.is_contiguous() and cells.shape[2] > 0:  # one pass, nothing written; slow with channels last
        squares: Tensor = torch.linalg.vector_norm(cells, dim=2).square_()
        return squares
    return cells.square().sum(2)


def _dots(x: Tensor, y: Tensor) -> Tensor:
    """Sum of x y over each channel: (B, C)."""
    count = _slice_of(x)
    if count >= len(x):
        return (x * y).flatten(2).sum(2)
    return torch.cat([(a * b).flatten(2).sum(2) for a, b in zip(x.split(count), y.split(count), strict=True)])


def _sum_of_scaled(x: Tensor, by: Tensor, y: Tensor, by_other: Tensor) -> Tensor:
    """Sum of both maps, each times its own factors (B, C): (B, C, ...)."""
    count = _slice_of(x)
    by, by_other = _as_map(by, x), _as_map(by_other, x)
    if count >= len(x):
        return (x * by).addcmul_(y, by_other)
    sums = torch.empty_like(y)
    for out, a, b, c, d in zip(*(each.split(count) for each in (sums, x, by, y, by_other)), strict=True):
        torch.mul(a, b, out=out).addcmul_(c, d)
    return sums
