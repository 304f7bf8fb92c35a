"""RMSPool, the pool of ASGE's branch 1 (arXiv 2509.12394): sqrt(mean(y^2)) over windows, per channel.

Its square is the mean square of the window, which is what goodness measures: pooling neither creates nor loses mean
energy where the windows tile the map. The gradient is finite everywhere, 0 where a window is all zeros.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from asge.common.tensors import at_least_float32
from asge.layers.pooling.windows import Size, average


def rms_pool1d(
    y: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False
) -> Tensor:
    """RMSPool over (B, C, L), or without B; arguments as of ``torch.nn.functional.avg_pool1d``, same dtype."""
    return _root_of_mean_square(y, F.avg_pool1d, kernel_size, stride, padding, ceil_mode)


def rms_pool2d(
    y: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False
) -> Tensor:
    """RMSPool over (B, C, H, W), or without B; arguments as of ``torch.nn.functional.avg_pool2d``, same dtype."""
    return _root_of_mean_square(y, F.avg_pool2d, kernel_size, stride, padding, ceil_mode)


def rms_pool3d(
    y: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False
) -> Tensor:
    """RMSPool over (B, C, T, H, W), or without B; arguments as of ``torch.nn.functional.avg_pool3d``, same dtype."""
    return _root_of_mean_square(y, F.avg_pool3d, kernel_size, stride, padding, ceil_mode)


def _root_of_mean_square(y: Tensor, *pool: Any) -> Tensor:
    return root(average(at_least_float32(y).square(), *pool)).to(y.dtype)


def root(mean_square: Tensor) -> Tensor:
    """Square root with a finite slope everywhere: below the smallest normal number its value and slope are constant."""
    return mean_square.clamp_min(torch.finfo(mean_square.dtype).tiny).sqrt()


def root_(mean_square: Tensor) -> Tensor:
    """``root`` in place, without a gradient."""
    return mean_square.clamp_min_(torch.finfo(mean_square.dtype).tiny).sqrt_()
