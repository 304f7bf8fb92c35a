"""Spatial goodness encoding (arXiv 2509.12394): where in a layer, and in which channel, the energy is.

Shapes: B images, C channels, H x W pixels, P patches per side.
"""

from __future__ import annotations

import itertools
import math
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from asge.common.tensors import at_least_float32, constant

Reduction = Literal["mean", "sum"]
Rule = Literal["power", "linear"]
Goodness = Literal["squares", "activations"]
ONE_PRODUCT = 2**12
"""Up to this many pixels times patches, sums over patches are one matrix product; beyond it two, with less work."""


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
        g (B, C * P * P), in float32 at least; channel-major, then row, then column of the patch.

    Raises:
        ValueError: if y is not 4-dimensional, P does not fit, or the reduction is unknown.
    """
    if y.dim() != 4:
        raise ValueError(f"y must be (B, C, H, W), got {tuple(y.shape)}")
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
    y = at_least_float32(y)
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
    if even(height, width, patches):
        window = (height // patches, width // patches)
        mean: Tensor = F.avg_pool2d(energy, window)
        return mean * (window[0] * window[1]) if reduction == "sum" else mean
    # As matrix products; nothing is copied if the map is channels_last: (B, H, W, C) -> (B, P, P, C).
    by_pixel = energy.permute(0, 2, 3, 1)
    batch, channels = energy.shape[:2]
    if height * width * patches**2 <= ONE_PRODUCT:
        both = _of_both_sides(height, width, patches, reduction, energy.dtype, energy.device)
        by_patch = torch.bmm(both.expand(batch, -1, -1), by_pixel.flatten(1, 2))
    else:
        along = [membership(side, patches, energy, reduction) for side in (height, width)]
        rows = torch.bmm(along[0].expand(batch, -1, -1), by_pixel.flatten(2))
        rows = rows.view(batch * patches, width, channels)
        by_patch = torch.bmm(along[1].expand(batch * patches, -1, -1), rows)
    return by_patch.view(batch, patches, patches, channels).permute(0, 3, 1, 2)


def even(height: int, width: int, patches: int) -> bool:
    """Whether all patches have the same number of pixels."""
    return height % patches == 0 and width % patches == 0


def cuts(length: int, patches: int) -> list[tuple[int, int]]:
    """First pixel of every patch along one side, and the first after it: floor(i length / P)."""
    return list(itertools.pairwise(i * length // patches for i in range(patches + 1)))


def membership(length: int, patches: int, like: Tensor, reduction: Reduction) -> Tensor:
    """(P, length): in row i, on the pixels of patch i, 1 for the sum over them, or 1 / their number for the mean."""
    return _membership(length, patches, reduction, like.dtype, like.device)


@constant
def _membership(length: int, patches: int, reduction: Reduction, dtype: torch.dtype, device: torch.device) -> Tensor:
    member = torch.zeros(patches, length, dtype=dtype)
    for patch, (start, end) in enumerate(cuts(length, patches)):
        member[patch, start:end] = 1 if reduction == "sum" else 1 / (end - start)
    return member.to(device)


@constant
def _of_both_sides(
    height: int, width: int, patches: int, reduction: Reduction, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """(P P, H W): of rows and columns together."""
    along = (_membership(side, patches, reduction, dtype, device) for side in (height, width))
    return torch.kron(*along)


def areas(height: int, width: int, patches: int, like: Tensor) -> Tensor:
    """Pixels in every patch: (P, P), dtype and device of ``like``."""
    return _areas(height, width, patches, like.dtype, like.device)


@constant
def _areas(height: int, width: int, patches: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    along = [torch.tensor([end - start for start, end in cuts(side, patches)]) for side in (height, width)]
    return torch.outer(*along).to(dtype).to(device)


def shares(height: int, width: int, patches: int, like: Tensor) -> Tensor:
    """The share of the map's pixels that every patch has: (P, P), dtype and device of ``like``."""
    return _shares(height, width, patches, like.dtype, like.device)


@constant
def _shares(height: int, width: int, patches: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return _areas(height, width, patches, dtype, device) / (height * width)


@constant
def patch_of_pixels(length: int, patches: int, device: torch.device) -> Tensor:
    """The number of the patch that each pixel along one side is in: (length,) int64."""
    numbers = [patch for patch, (start, end) in enumerate(cuts(length, patches)) for _ in range(start, end)]
    return torch.tensor(numbers, device=device)


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
