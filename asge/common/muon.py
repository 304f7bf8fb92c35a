"""Muon (Keller Jordan 2024, kellerjordan.github.io/posts/muon): steps whose matrices have equal singular values.

Momentum's step M for a convolution kernel, as a matrix (C', C k k), is replaced by

    (M M')^(-1/2) M                        with M's singular vectors, and singular values near one

and scaled to the size of AdamW's steps (arXiv 2502.16982), so that the same learning rates serve both. The inverse root
is found by matrix products alone (Newton-Schulz), at sizes no larger than M's shorter side, with the polynomials that
are best for a given range of singular values (arXiv 2505.16932).

PyTorch's own ``torch.optim.Muon`` takes matrices only, and iterates in bfloat16, which is slow on most processors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

POLYNOMIALS = ((8.0934, -23.6204, 17.4462), (3.6366, -2.7219, 0.5365), (2.6613, -1.9772, 0.4526))
"""(a, b, c) of x (a + b x^2 + c x^4), one after another: best for singular values from 0.01 to 1, as minimax."""
ACCURACY = 0.27
"""Largest distance from 1 of what these polynomials make of such a singular value."""
RMS_OF_ADAMW = 0.2
"""Typical root mean square of AdamW's steps, at learning rate 1."""
SMALLEST = 1e-16
"""A matrix below this, squared, is divided by this instead of by its own size."""


def inverse_root(gram: Tensor) -> Tensor:
    """G^(-1/2), approximately, of a symmetric G = M M' (n, n) that is overwritten.

    Singular values of G^(-1/2) M are from 0.73 to 1.27 where those of M are at least 0.01 ||G||^(1/2), in the
    Frobenius norm; smaller ones are smaller. An iteration multiplies X by F = a I + b G + c G^2, where G = X X'. All of
    them are polynomials of the first G, so that X itself is never needed.
    """
    norm = gram.norm().clamp_min_(SMALLEST)  # at least the square of M's largest singular value
    gram /= norm
    root = gram
    for number, (a, b, c) in enumerate(POLYNOMIALS):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)  # F - a I
        if number + 1 < len(POLYNOMIALS):
            gram = torch.addmm(gram, factor, gram, beta=a)
            gram = torch.addmm(gram, factor, gram, beta=a)  # F G F
        if number:
            root = torch.addmm(root, factor, root, beta=a)
        else:
            root = factor
            root.diagonal().add_(a)
    found: Tensor = root * norm.rsqrt_()
    return found


class Muon(torch.optim.Optimizer):
    """Muon for convolution kernels.

    Args:
        parameters: kernels (C', C, k, k), or groups of them.
        lr: learning rate, as for AdamW.
        momentum: Nesterov's, from 0 to below 1.
        weight_decay: decoupled.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float,
        weight_decay: float,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002 -- PyTorch's signature
        """Update all kernels that have a gradient; ``closure`` is not used."""
        for group in self.param_groups:
            rate, momentum, kept = group["lr"], group["momentum"], 1 - group["lr"] * group["weight_decay"]
            for kernel in group["params"]:
                if kernel.grad is not None:
                    matrix, step = _as_matrix(kernel), self._momentum_step(kernel, momentum)
                    alpha = -rate * RMS_OF_ADAMW * max(step.shape) ** 0.5
                    if len(step) <= step.shape[1]:
                        matrix.addmm_(inverse_root(step @ step.T), step, beta=kept, alpha=alpha)
                    else:
                        matrix.addmm_(step, inverse_root(step.T @ step), beta=kept, alpha=alpha)

    def _momentum_step(self, kernel: Tensor, momentum: float) -> Tensor:
        """M of a kernel, (C', C k k)."""
        state, gradient = self.state[kernel], _as_matrix(kernel.grad)
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        mean = state["momentum"].lerp_(gradient, 1 - momentum)
        return torch.lerp(gradient, mean, momentum)


def _as_matrix(kernel: Tensor | None) -> Tensor:
    """A kernel (C', C, k, k) as a matrix (C', C k k), its columns in the order in which they are stored: a view."""
    assert kernel is not None  # noqa: S101 -- for the type checker
    stored = kernel if kernel.is_contiguous() else kernel.permute(0, 2, 3, 1)
    return stored.view(len(kernel), -1)
