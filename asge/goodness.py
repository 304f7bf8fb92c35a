"""Spatial goodness encoding (arXiv 2509.12394): where in a layer, and in which channel, the energy is.

Shapes: B images, C channels, H x W pixels, P patches per side.
"""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

Reduction = Literal["mean", "sum"]
Rule = Literal["power", "linear"]
Goodness = Literal["squares", "activations"]


def spatial_goodness(y: Tensor, patches: int, reduction: Reduction = "mean", goodness: Goodness = "squares") -> Tensor:
    """Goodness of every patch of every channel: g of a block.

    Each channel map is cut into ``patches`` x ``patches`` patches; the goodness of a patch is the mean or the sum
    of its squared activations. Where H or W is not a multiple of ``patches`` the map is cut at floor(i H / P), so
    that every activation counts in exactly one patch (adaptive pooling's windows would overlap): with
    ``reduction="sum"`` the patches of a channel add up to the channel's whole energy.

    Args:
        y: activations (B, C, H, W), floating point, before pooling and normalisation.
        patches: patches per side P, from 1 to min(H, W).
        reduction: "mean" or "sum" of squares within a patch.
        goodness: "squares", or "activations": these themselves are averaged or summed, as a control.

    Returns:
        g (B, C * P * P), same dtype; channel-major, then row, then column of the patch.

    Raises:
        ValueError: if y is not 4-dimensional, P does not fit, or the reduction is unknown.
    """
    if y.dim() != 4:
        raise ValueError(f"y must be (B, C, H, W), got {tuple(y.shape)}")
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
    return patch_energy(y.square() if goodness == "squares" else y, patches, reduction).flatten(1)


def patch_energy(energy: Tensor, patches: int, reduction: Reduction) -> Tensor:
    """Mean or sum of ``energy``, squared activations (B, C, H, W), in every patch: (B, C, P, P).

    Raises:
        ValueError: if P does not fit.
    """
    height, width = energy.shape[2:]
    if not 1 <= patches <= min(height, width):
        raise ValueError(
            f"patches must be from 1 to {min(height, width)} for maps of {height} x {width}, got {patches}"
        )
    if height % patches == 0 and width % patches == 0:
        window = (height // patches, width // patches)
        mean: Tensor = F.avg_pool2d(energy, window)
        return mean * (window[0] * window[1]) if reduction == "sum" else mean
    # As matrix products over rows, then columns; nothing is copied if the map is channels_last.
    rows = membership(height, patches, energy) @ energy.permute(0, 2, 3, 1).flatten(2)
    by_patch = membership(width, patches, energy) @ rows.unflatten(2, (width, -1))
    total: Tensor = by_patch.permute(0, 3, 1, 2)
    return total if reduction == "sum" else total / areas(height, width, patches, total)


def cuts(length: int, patches: int) -> list[tuple[int, int]]:
    """First pixel of every patch along one side, and the first after it: floor(i length / P)."""
    return list(itertools.pairwise(i * length // patches for i in range(patches + 1)))


def membership(length: int, patches: int, like: Tensor) -> Tensor:
    """(P, length): row i is 1 on the pixels of patch i, else 0; dtype and device of ``like``. Shared: read only."""
    return _membership(length, patches, like.dtype, like.device)


@cache
def _membership(length: int, patches: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    # Cached for later calls, which may differentiate: an inference tensor could not serve them.
    with torch.inference_mode(False):
        member = torch.zeros(patches, length, dtype=dtype)
        for patch, (start, end) in enumerate(cuts(length, patches)):
            member[patch, start:end] = 1
        return member.to(device)


def areas(height: int, width: int, patches: int, like: Tensor) -> Tensor:
    """Pixels in every patch: (P, P), dtype and device of ``like``."""
    return torch.outer(membership(height, patches, like).sum(1), membership(width, patches, like).sum(1))


def patches_per_side(
    channels: int,
    last_channels: int,
    alpha: float = 1.0,
    *,
    size: int,
    rule: Rule = "power",
) -> int:
    """Patches per side P_l of a layer: many where channels are few, one in the last layer.

    ``rule="power"``: (C_L / C_l) ** alpha; ``rule="linear"``: alpha * C_L / C_l. Rounded half up, at least 1, at
    most ``size``. The two agree at alpha = 1. The paper's exact rule is not known: both are this project's readings.

    Args:
        channels: C_l, channels of this layer.
        last_channels: C_L, channels of the last convolution.
        alpha: exponent or factor, at least 0.
        size: min(H_l, W_l), the shorter side of the layer's map.
        rule: "power" or "linear".

    Raises:
        ValueError: for non-positive channels or size, negative alpha, an alpha that is too large, or an unknown rule.
    """
    if min(channels, last_channels, size) < 1:
        raise ValueError(f"channels, last_channels and size must be positive, got {channels}, {last_channels}, {size}")
    if alpha < 0:
        raise ValueError(f"alpha must be at least 0, got {alpha}")
    ratio = last_channels / channels
    if rule == "power":
        patches = _power(ratio, alpha)
    elif rule == "linear":
        patches = alpha * ratio
    else:
        raise ValueError(f"rule must be 'power' or 'linear', got {rule!r}")
    return max(1, math.floor(min(size, patches) + 0.5))


def _power(ratio: float, alpha: float) -> float:
    try:
        return float(ratio**alpha)
    except OverflowError:
        raise ValueError(f"alpha is too large: {ratio:g} to the power of {alpha:g} is no finite number") from None
