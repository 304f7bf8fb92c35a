"""Muon (Keller Jordan 2024, kellerjordan.github.io/posts/muon): steps whose matrices have equal singular values.

Momentum's step M for a convolution kernel, as a matrix (C', C k k), is replaced by a matrix with M's singular vectors
and singular values near one, which a Newton-Schulz iteration finds without a decomposition. The step is scaled to the
size of AdamW's (arXiv 2502.16982), so that the same learning rates serve both. All other parameters follow AdamW.

PyTorch's own ``torch.optim.Muon`` takes matrices only, and iterates in bfloat16, which is slow on most processors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
BETAS = (0.9, 0.999)
"""Of AdamW, for parameters that are no kernels."""
RMS_OF_ADAMW = 0.2
"""Typical root mean square of AdamW's steps, at learning rate 1."""
EPS = 1e-8


def orthogonalized(matrix: Tensor) -> Tensor:
    """A matrix with the singular vectors of ``matrix`` (A, B) and singular values between about 0.7 and 1.2.

    An iteration multiplies X by M = a I + b G + c G^2, where G = X X'. All of them are polynomials of the first G, so
    that the iterations run on matrices as small as the shorter side, and X itself is multiplied only once.
    """
    a, b, c = COEFFICIENTS
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    x = wide / wide.norm().clamp_min(EPS)
    gram, product = x @ x.T, x.new_empty(0)
    for iteration in range(ITERATIONS):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor @ product if iteration else factor
        if iteration + 1 < ITERATIONS:
            gram = factor @ gram @ factor
    x = torch.mm(product, x)
    return x if wide is matrix else x.T


class Muon(torch.optim.Optimizer):
    """Muon for convolution kernels (four dimensions), AdamW for all else.

    Args:
        parameters: tensors or groups.
        lr: learning rate, as for AdamW.
        momentum: of the kernels, Nesterov's.
        weight_decay: decoupled.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002 -- PyTorch's signature
        """Update all parameters that have a gradient; ``closure`` is not used."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                if parameter.dim() == 4:
                    self._step_kernel(parameter, group["lr"], group["momentum"])
                else:
                    self._step_other(parameter, group["lr"])

    def _step_kernel(self, kernel: Tensor, rate: float, momentum: float) -> None:
        state, gradient = self.state[kernel], _as_matrix(kernel.grad)
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        mean = state["momentum"].lerp_(gradient, 1 - momentum)
        step = orthogonalized(torch.lerp(gradient, mean, momentum))
        _as_matrix(kernel).add_(step, alpha=-rate * RMS_OF_ADAMW * max(step.shape) ** 0.5)

    def _step_other(self, parameter: Tensor, rate: float) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None  # noqa: S101 -- for the type checker
        if not state:
            state.update(step=0, mean=torch.zeros_like(parameter), square=torch.zeros_like(parameter))
        state["step"] += 1
        mean = state["mean"].lerp_(gradient, 1 - BETAS[0])
        square = state["square"].lerp_(gradient.square(), 1 - BETAS[1])
        unbiased = (square / (1 - BETAS[1] ** state["step"])).sqrt_().add_(EPS)
        parameter.addcdiv_(mean, unbiased, value=-rate / (1 - BETAS[0] ** state["step"]))


def _as_matrix(kernel: Tensor | None) -> Tensor:
    """A kernel (C', C, k, k) as a matrix (C', C k k), its columns in the order in which they are stored: a view."""
    assert kernel is not None  # noqa: S101 -- for the type checker
    stored = kernel if kernel.is_contiguous() else kernel.permute(0, 2, 3, 1)
    return stored.view(len(kernel), -1)
