"""Losses on gates (Bejnordi, Blankevoort, Welling, ICLR 2020, arXiv 1907.06627; ConvNet-AIG's, arXiv 1711.11503).

Batch-shaping asks each gate to be open for some images and closed for others: over a batch, its values shall be
distributed as Beta(0.6, 0.4). With x_(1) <= ... <= x_(N) the sorted values of one gate, F the distribution function
and e_n = n / (N + 1),

    L = sum_n (e_n - F(x_(n)))^2,    dL / dx_(n) = -2 f(x_(n)) (e_n - F(x_(n)))

where the density f is clipped, as it is infinite at 0 and 1. Shapes: N images, G gates.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
import torch
from scipy import special
from torch import Tensor

from asge.common.tensors import at_least_float32, wide

Reduction = Literal["sum", "mean"]
A, B = 0.6, 0.4
LEAST_DENSITY, GREATEST_DENSITY = 1e-3, 100.0


def batch_shaping_loss(gates: Tensor, a: float = A, b: float = B, reduction: Reduction = "sum") -> Tensor:
    """L_BS, the distance of the gates from Beta(a, b): Cramér-von Mises, averaged over gates.

    Args:
        gates: P(open) of every image and gate, (N, G), floating point from 0 to 1.
        a: of the prior, above 0.
        b: of the prior, above 0.
        reduction: "sum" or "mean" over the N images; a weight of this loss has a meaning only together with it.

    Returns:
        A scalar, in float32 at least.

    Raises:
        ValueError: for another shape, an unknown reduction, or a prior not above 0.
    """
    if gates.dim() != 2 or 0 in gates.shape:
        raise ValueError(f"gates must be (N, G) and not empty, got {tuple(gates.shape)}")
    if reduction not in ("sum", "mean"):
        raise ValueError(f"reduction must be 'sum' or 'mean', got {reduction!r}")
    if min(a, b) <= 0:
        raise ValueError(f"a and b must be above 0, got {a} and {b}")
    count = len(gates)
    ordered, _ = at_least_float32(gates).sort(dim=0)
    expected = torch.arange(1, count + 1, device=gates.device, dtype=ordered.dtype)[:, None] / (count + 1)
    distance = (expected - beta_cdf(ordered, a, b)).square()
    return (distance.sum(0) if reduction == "sum" else distance.mean(0)).mean()


def beta_cdf(x: Tensor, a: float, b: float) -> Tensor:
    """The distribution function of Beta(a, b), its derivative clipped to 1e-3 .. 100; same shape and dtype."""
    return _BetaCdf.apply(x, a, b)  # type: ignore[no-any-return]


class _BetaCdf(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, a: float, b: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.shape = a, b
        return _elementwise(x, lambda values: special.betainc(a, b, values))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        a, b = ctx.shape

        def density(values: Any) -> Any:
            with np.errstate(divide="ignore"):
                log = special.xlogy(a - 1, values) + special.xlog1py(b - 1, -values) - special.betaln(a, b)
                return np.exp(log)

        return gradient * _elementwise(x, density).clamp(LEAST_DENSITY, GREATEST_DENSITY), None, None


def _elementwise(x: Tensor, function: Any) -> Tensor:
    """Apply a function of SciPy's, in float64 on the CPU; the result has x's dtype and device."""
    values = function(x.detach().double().cpu().numpy())
    return torch.from_numpy(np.asarray(values)).to(x.device, x.dtype)


def l0_loss(gates: Tensor) -> Tensor:
    """L_0, the mean probability that a gate is open, of gates (N, G) from 0 to 1: a scalar."""
    return gates.mean(dtype=wide(gates))


class ShapingSettings(Protocol):
    """Settings of gates that are shaped first and closed later, see ``baselines.conditional.bas.BASSettings``."""

    @property
    def shaping_weight(self) -> float:
        """Initial weight of the batch-shaping loss."""

    @property
    def shaping_reduction(self) -> Reduction:
        """Of the batch-shaping loss, over the images."""

    @property
    def shaping_until(self) -> float:
        """Share of training over which ``shaping_weight`` falls linearly to 0."""

    @property
    def l0_weight(self) -> float:
        """Final weight of the L0 loss."""

    @property
    def l0_from(self) -> float:
        """Share of training from which the L0 weight rises from 0."""

    @property
    def l0_until(self) -> float:
        """Share of training from which the L0 weight is full."""


def check_schedule(settings: ShapingSettings) -> None:
    """Raise a ValueError if the L0 weight would be full before it begins to rise."""
    if settings.l0_from > settings.l0_until:
        raise ValueError(f"l0_from ({settings.l0_from:g}) must not be after l0_until ({settings.l0_until:g})")


def shaping_weight(settings: ShapingSettings, progress: float) -> float:
    """Gamma, the weight of the batch-shaping loss, at a training progress from 0 to 1."""
    if progress >= settings.shaping_until:
        return 0.0
    return settings.shaping_weight * (1 - progress / settings.shaping_until)


def l0_weight(settings: ShapingSettings, progress: float) -> float:
    """Lambda, the weight of the L0 loss, at a training progress from 0 to 1."""
    if progress >= settings.l0_until:
        return settings.l0_weight
    if progress <= settings.l0_from:
        return 0.0
    return settings.l0_weight * (progress - settings.l0_from) / (settings.l0_until - settings.l0_from)


def gate_losses(gates: Tensor, settings: ShapingSettings, progress: float) -> dict[str, Tensor]:
    """Both losses of gates (N, G) at a training progress from 0 to 1, weighted: ``shaping`` and ``l0``."""
    weight = shaping_weight(settings, progress)
    shaping = batch_shaping_loss(gates, reduction=settings.shaping_reduction) if weight else gates.new_zeros(())
    return {"shaping": weight * shaping, "l0": l0_weight(settings, progress) * l0_loss(gates)}


def target_rate_loss(executed: Tensor, targets: Tensor, reduction: Reduction = "mean") -> Tensor:
    """ConvNet-AIG's loss: squared distance of each block's execution rate from its target.

    Args:
        executed: z of every image and block, (N, L), 0 or 1.
        targets: rates, (L,).
        reduction: over the blocks: the paper sums, its authors' code takes the mean.

    Returns:
        A scalar: over blocks, the squares of target minus mean z.
    """
    squares = (targets - executed.mean(0)).square()
    return squares.sum() if reduction == "sum" else squares.mean()
