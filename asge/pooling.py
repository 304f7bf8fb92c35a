"""RMSPool, which keeps activation energy, and other pools under the same interface."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

Pooling = Literal["rms", "max", "avg"]


def pool2d(y: Tensor, kernel_size: int, kind: Pooling) -> Tensor:
    """Pooling by name over square windows side by side: (B, C, H, W) -> (B, C, H // kernel_size, W // kernel_size).

    Raises:
        ValueError: for an unknown kind.
    """
    if kind == "rms":
        return rms_pool2d(y, kernel_size)
    if kind == "max":
        return F.max_pool2d(y, kernel_size)
    if kind == "avg":
        return F.avg_pool2d(y, kernel_size)
    raise ValueError(f"pooling must be 'rms', 'max' or 'avg', got {kind!r}")


def rms_pool2d(y: Tensor, kernel_size: int, stride: int | None = None) -> Tensor:
    """RMSPool: sqrt(mean(y^2)) over square windows, per channel.

    Its square is the mean square of the window, which is what goodness measures: pooling neither creates nor loses
    mean energy where the windows tile the map. The gradient is finite everywhere, 0 where a window is all zeros.

    Args:
        y: (B, C, H, W), floating point.
        kernel_size: side of the window; 1 with stride 1 gives the magnitude of y.
        stride: step between windows, by default the window's side. Rows and columns that no longer fill a window
            are left out, as in PyTorch's own pools.

    Returns:
        (B, C, H', W'), same dtype.
    """
    return root(F.avg_pool2d(y.square(), kernel_size, stride))


def root(mean_square: Tensor) -> Tensor:
    """Square root with a finite slope everywhere: below the smallest normal number its value and slope are constant."""
    return mean_square.clamp_min(torch.finfo(mean_square.dtype).tiny).sqrt()


def root_(mean_square: Tensor) -> Tensor:
    """``root`` in place, without a gradient."""
    return mean_square.clamp_min_(torch.finfo(mean_square.dtype).tiny).sqrt_()
