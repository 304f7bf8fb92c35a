"""Pooling that keeps activation energy."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


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
    mean_square = F.avg_pool2d(y.square(), kernel_size, stride)
    # sqrt has an infinite slope at 0; the clamp is far below any float32 activation's square and passes no gradient.
    return mean_square.clamp_min(torch.finfo(y.dtype).tiny).sqrt()
