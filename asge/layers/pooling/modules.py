"""The pools as modules, with the arguments of ``torch.nn.MaxPool2d`` and its like."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from asge.layers.pooling.rms import rms_pool1d, rms_pool2d, rms_pool3d
from asge.layers.pooling.soft import Gradient, soft_pool1d, soft_pool2d, soft_pool3d
from asge.layers.pooling.windows import Size


class _Pool(nn.Module):
    """A pool over windows.

    Args:
        kernel_size: side or sides of a window.
        stride: step or steps between windows; by default their sides.
        padding: what pads the map on both sides; it counts in no window.
        ceil_mode: whether windows that begin within the map may end outside.
    """

    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode

    def extra_repr(self) -> str:
        """As of PyTorch's pools."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, ceil_mode={self.ceil_mode}"
        )


class _RMSPool(_Pool):
    function: ClassVar[Callable[..., Tensor]]

    def forward(self, y: Tensor) -> Tensor:
        """The pooled map."""
        return type(self).function(y, self.kernel_size, self.stride, self.padding, self.ceil_mode)


class RMSPool1d(_RMSPool):
    """``rms_pool1d`` as a module; arguments as of ``torch.nn.AvgPool1d``."""

    function = staticmethod(rms_pool1d)


class RMSPool2d(_RMSPool):
    """``rms_pool2d`` as a module; arguments as of ``torch.nn.AvgPool2d``."""

    function = staticmethod(rms_pool2d)


class RMSPool3d(_RMSPool):
    """``rms_pool3d`` as a module; arguments as of ``torch.nn.AvgPool3d``."""

    function = staticmethod(rms_pool3d)


class _SoftPool(_Pool):
    function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        if gradient not in ("exact", "paper"):
            raise ValueError(f"gradient must be 'exact' or 'paper', got {gradient!r}")
        self.gradient: Gradient = gradient

    def forward(self, x: Tensor) -> Tensor:
        """The pooled map."""
        return type(self).function(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.gradient)

    def extra_repr(self) -> str:
        """As of PyTorch's pools, and the gradient."""
        return f"{super().extra_repr()}, gradient={self.gradient!r}"


class SoftPool1d(_SoftPool):
    """``soft_pool1d`` as a module; arguments as of ``torch.nn.MaxPool1d``, without dilation."""

    function = staticmethod(soft_pool1d)


class SoftPool2d(_SoftPool):
    """``soft_pool2d`` as a module; arguments as of ``torch.nn.MaxPool2d``, without dilation."""

    function = staticmethod(soft_pool2d)


class SoftPool3d(_SoftPool):
    """``soft_pool3d`` as a module; arguments as of ``torch.nn.MaxPool3d``, without dilation."""

    function = staticmethod(soft_pool3d)
