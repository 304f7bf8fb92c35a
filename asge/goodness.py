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

Reduction = Literal["mean", "sum"]
Rule = Literal["power", "linear"]


def spatial_goodness(y: Tensor, patches: int, reduction: Reduction = "mean") -> Tensor:
    """The goodness of every patch of every channel.

    Each channel map is cut into ``patches`` x ``patches`` patches; the goodness of a patch is the mean or the sum
    of its squared activations. Where H or W is not a multiple of ``patches`` the map is cut at floor(i H / P), so
    that every activation counts in exactly one patch (adaptive pooling's windows would overlap): with
    ``reduction="sum"`` the patches of a channel add up to the channel's whole energy.

    Args:
        y: activations (B, C, H, W), floating point, before pooling and normalisation.
        patches: patches per side P, from 1 to min(H, W).
        reduction: "mean" or "sum" of squares within a patch.

    Returns:
        g (B, C * P * P), same dtype; channel-major, then row, then column of the patch.

    Raises:
        ValueError: if y is not 4-dimensional, P does not fit, or the reduction is unknown.
    """
    if y.dim() != 4:
        raise ValueError(f"y must be (B, C, H, W), got {tuple(y.shape)}")
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
    height, width = y.shape[2:]
    if not 1 <= patches <= min(height, width):
        raise ValueError(
            f"patches must be from 1 to {min(height, width)} for maps of {height} x {width}, got {patches}"
        )
    energy = y.square()
    if height % patches == 0 and width % patches == 0:
        window = (height // patches, width // patches)
        g = F.avg_pool2d(energy, window)
        if reduction == "sum":
            g = g * (window[0] * window[1])
    else:
        rows = _patch_membership(height, patches, reduction, y)
        columns = _patch_membership(width, patches, reduction, y)
        g = rows @ energy @ columns.T
    return g.flatten(1)


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
        ValueError: for non-positive channels or size, negative alpha, or an unknown rule.
    """
    if min(channels, last_channels, size) < 1:
        raise ValueError(f"channels, last_channels and size must be positive, got {channels}, {last_channels}, {size}")
    if alpha < 0:
        raise ValueError(f"alpha must be at least 0, got {alpha}")
    ratio = last_channels / channels
    if rule == "power":
        patches: float = ratio**alpha
    elif rule == "linear":
        patches = alpha * ratio
    else:
        raise ValueError(f"rule must be 'power' or 'linear', got {rule!r}")
    return max(1, min(size, math.floor(patches + 0.5)))


def _patch_membership(length: int, patches: int, reduction: Reduction, like: Tensor) -> Tensor:
    """(P, length): row i is 1 (or 1/size, for a mean) on the pixels of patch i, 0 elsewhere."""
    edges = [i * length // patches for i in range(patches + 1)]
    sizes = torch.tensor([end - start for start, end in itertools.pairwise(edges)], device=like.device)
    owner = torch.repeat_interleave(torch.arange(patches, device=like.device), sizes, output_size=length)
    member = F.one_hot(owner, patches).T.to(like.dtype)
    return member / sizes[:, None].to(like.dtype) if reduction == "mean" else member
