"""Pools by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from asge.common.types import check_choice
from asge.layers.pooling.rms import rms_pool1d, rms_pool2d, rms_pool3d
from asge.layers.pooling.soft import soft_pool1d, soft_pool2d, soft_pool3d
from asge.layers.pooling.windows import Size, average

Pooling = Literal["rms", "soft", "max", "avg"]
_Pool = Callable[[Tensor, Size, Size | None, Size, bool], Tensor]


def _max(pool: Callable[..., Tensor]) -> _Pool:
    def pooled(y: Tensor, kernel_size: Size, stride: Size | None, padding: Size, ceil_mode: bool) -> Tensor:
        return pool(y, kernel_size, stride, padding, 1, ceil_mode)

    return pooled


def _avg(pool: Callable[..., Tensor]) -> _Pool:
    def pooled(y: Tensor, kernel_size: Size, stride: Size | None, padding: Size, ceil_mode: bool) -> Tensor:
        return average(y, pool, kernel_size, stride, padding, ceil_mode)

    return pooled


POOLINGS: Mapping[str, Mapping[int, _Pool]] = {
    "rms": {1: rms_pool1d, 2: rms_pool2d, 3: rms_pool3d},
    "soft": {1: soft_pool1d, 2: soft_pool2d, 3: soft_pool3d},
    "max": {1: _max(F.max_pool1d), 2: _max(F.max_pool2d), 3: _max(F.max_pool3d)},
    "avg": {1: _avg(F.avg_pool1d), 2: _avg(F.avg_pool2d), 3: _avg(F.avg_pool3d)},
}
"""Pools by name, then by the number of pooled dimensions."""


def pool(
    y: Tensor,
    kind: Pooling,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    dimensions: int | None = None,
) -> Tensor:
    """Pool by name, over the last dimensions.

    Padding counts in no window, not even in an average.

    Args:
        y: (B, C, L), (B, C, H, W) or (B, C, T, H, W); without B too, where ``dimensions`` is given.
        kind: "rms", "soft" (with its exact gradient), "max" or "avg".
        kernel_size: side or sides of a window.
        stride: step or steps between windows; by default their sides.
        padding: on both sides of the map.
        ceil_mode: whether windows that begin within the map may end outside.
        dimensions: how many are pooled; by default all after batch and channels.

    Raises:
        ValueError: for an unknown kind or another number of dimensions.
    """
    check_choice("pooling", kind, Pooling)
    if dimensions is None:
        dimensions = y.dim() - 2
    if dimensions not in POOLINGS[kind]:
        raise ValueError(f"y must be (B, C, L), (B, C, H, W) or (B, C, T, H, W), got {tuple(y.shape)}")
    return POOLINGS[kind][dimensions](y, kernel_size, stride, padding, ceil_mode)


def pool2d(y: Tensor, kernel_size: int, kind: Pooling) -> Tensor:
    """Pool by name over adjacent square windows: (B, C, H, W) -> (B, C, H // kernel_size, W // kernel_size).

    A map without B is pooled too, and errors are PyTorch's.

    Raises:
        ValueError: for an unknown kind.
    """
    if kind == "max":  # PyTorch's own, called as networks call it
        return F.max_pool2d(y, kernel_size)
    return pool(y, kind, kernel_size, dimensions=2)
