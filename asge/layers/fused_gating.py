"""GCT's arithmetic (``asge.gating``, l2 norm and tanh) with a hand-written backward pass, without intermediate maps.

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


def pays(x: Tensor, alpha: Tensor) -> bool:
    """Whether ``gated`` can replace autograd: equal dtypes of at least 32 bits, and not under ``torch.compile``."""
    return x.dtype == alpha.dtype and x.dtype in (torch.float32, torch.float64) and not torch.compiler.is_compiling()


def gated(x: Tensor, alpha: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    """GCT's y with the backward pass above: (B, C, ...) -> (B, C, ...); twice differentiable."""
    result: Tensor = _Gated.apply(x, alpha, gamma, beta, eps)
    return result


def plainly_gated(x: Tensor, alpha: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    """The same y by autograd, the reference for ``gated``: (B, C, ...) -> (B, C, ...)."""
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
        g = 1 + tanh
        ctx.save_for_backward(x, alpha, gamma, beta, r, q, n, tanh, g)
        ctx.eps = eps
        return x * _as_map(g, x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (by_y,) = gradients
        x, alpha, gamma, beta, r, q, n, tanh, g = ctx.saved_tensors
        if torch.is_grad_enabled():  # the second derivative is asked for
            return *_by_autograd(x, alpha, gamma, beta, ctx.eps, by_y), None
        by_l = torch.ops.aten.tanh_backward((x * by_y).flatten(2).sum(2), tanh)
        n_by_l = n * by_l
        projection = (n_by_l @ gamma)[:, None]  # of dL/dn on n
        by_s = (gamma * by_l).addcmul_(n, projection, value=-1 / len(gamma)).mul_(q)
        by_x = None
        if ctx.needs_input_grad[0]:
            twice_by_e = (alpha * by_s).div_(r)
            by_x = (by_y * _as_map(g, x)).addcmul_(x, _as_map(twice_by_e, x))
        return by_x, by_s.mul_(r).sum(0), n_by_l.sum(0), by_l.sum(0), None


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


def _energies(x: Tensor) -> Tensor:
    """e: (B, C, ...) -> (B, C)."""
    cells = x.flatten(2)
    if cells.is_contiguous() and cells.shape[2] > 0:  # one pass, nothing written; slow with channels last
        squares: Tensor = torch.linalg.vector_norm(cells, dim=2).square_()
        return squares
    return cells.square().sum(2)
