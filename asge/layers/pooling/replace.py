"""Replaces the pools of existing networks: torchvision's and timm's ResNets, DenseNets and Inception."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from asge.layers.pooling.named import Pooling, pool
from asge.layers.pooling.windows import Size

POOL_IN_FORWARD = ("InceptionB", "InceptionD")
"""Blocks of both libraries that call max_pool2d themselves instead of holding a module."""


class Pool2d(nn.Module):
    """A pool by name as a module; arguments as of ``asge.pooling.pool``."""

    def __init__(self, kind: Pooling, kernel_size: Size, stride: Size, padding: Size, *, ceil_mode: bool) -> None:
        super().__init__()
        self.kind: Pooling = kind
        self.windows = (kernel_size, stride, padding, ceil_mode)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H', W')."""
        return pool(x, self.kind, *self.windows, dimensions=2)

    def extra_repr(self) -> str:
        """Kind and windows."""
        kernel, stride, padding, ceil_mode = self.windows
        return f"{self.kind!r}, kernel_size={kernel}, stride={stride}, padding={padding}, ceil_mode={ceil_mode}"


def replace_pools(model: nn.Module, kind: Pooling = "soft") -> int:
    """Replace every max or average pool that makes maps smaller; pools of stride 1 and global pools stay.

    A window of 3 with padding 1, as in the stem of ResNets and DenseNets, becomes one of its stride's size, as
    published for SoftPool (arXiv 2101.00440): maps keep their sizes. Other pools keep their windows.

    Args:
        model: changed in place.
        kind: see ``asge.pooling.pool``.

    Returns:
        Number of pools replaced.

    Raises:
        ValueError: if there was none to replace.
    """
    count = 0
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.MaxPool2d | nn.AvgPool2d) and child.stride not in (1, (1, 1)):
                setattr(parent, name, _instead_of(child, kind))
                count += 1
        if type(parent).__name__ in POOL_IN_FORWARD:
            parent.forward = _Renamed(parent.forward, kind)
            count += 1
    if count == 0:
        raise ValueError(f"{type(model).__name__} has no pool that makes maps smaller")
    return count


def _instead_of(module: nn.MaxPool2d | nn.AvgPool2d, kind: Pooling) -> Pool2d:
    centred = (module.kernel_size, module.stride, module.padding) == (3, 2, 1)
    if centred:
        return Pool2d(kind, module.stride, module.stride, 0, ceil_mode=True)
    return Pool2d(kind, module.kernel_size, module.stride, module.padding, ceil_mode=module.ceil_mode)


class _Renamed:
    """A block's forward in which max_pool2d is another pool."""

    def __init__(self, forward: Callable[..., Any], kind: Pooling) -> None:
        self._forward = forward
        self._mode = _OtherPool(kind)

    def __call__(self, *inputs: Any) -> Any:
        with self._mode:
            return self._forward(*inputs)


class _OtherPool(TorchFunctionMode):
    """Within this mode, max_pool2d calls another pool."""

    def __init__(self, kind: Pooling) -> None:
        super().__init__()
        self._kind: Pooling = kind

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in (F.max_pool2d, torch.max_pool2d):
            with torch._C.DisableTorchFunction():  # noqa: SLF001 - the other pool may take maxima itself
                return pool(*_windows(*args, **(kwargs or {}), kind=self._kind), dimensions=2)
        return func(*args, **(kwargs or {}))


def _windows(
    x: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,  # noqa: ARG001 - none of the blocks has any
    ceil_mode: bool = False,
    return_indices: bool = False,  # noqa: ARG001 - none of the blocks asks for them
    *,
    kind: Pooling,
) -> tuple[Tensor, Pooling, Size, Size | None, Size, bool]:
    return x, kind, kernel_size, stride, padding, ceil_mode
