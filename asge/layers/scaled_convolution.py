"""A convolution of scaled channels whose input needs no gradient, such as the first one after a gate on images.

    Z_b = Conv(s_b X_b)             s_b: one factor for each channel of image b
    U_b = dL/dConv(X_b)             weight gradient of image b alone, without its factors
    dL/dConv = sum_b s_b U_b        dL/ds_b = W . U_b, summed over output channels and kernel

Autograd would compute the gradient of s X, a whole map that nothing else needs; with the three channels of images that
is oneDNN's most expensive operation in a network's step.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

FEW_CHANNELS = 4


def pays(x: Tensor, convolution: nn.Conv2d) -> bool:
    """Whether ``scaled_conv2d`` can replace autograd and is faster: on CPU, for at most ``FEW_CHANNELS`` channels."""
    return (
        torch.is_grad_enabled()
        and not x.requires_grad
        and x.device.type == "cpu"
        and x.shape[1] <= FEW_CHANNELS
        and len(x) > 0
        and x.dtype == convolution.weight.dtype
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def scaled_conv2d(x: Tensor, scales: Tensor, convolution: nn.Conv2d) -> Tensor:
    """``convolution(x * scales[:, :, None, None])``, differentiable in the scales and the convolution's parameters.

    Args:
        x: (B, C, H, W), gets no gradient.
        scales: (B, C), same dtype.
        convolution: with zero padding.

    Returns:
        (B, C', H', W').
    """
    result: Tensor = _ScaledConvolution.apply(
        x, scales, convolution.weight, convolution.bias,
        (convolution.stride, convolution.padding, convolution.dilation, convolution.groups),
    )  # fmt: skip
    return result


class _ScaledConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scales: Tensor, weight: Tensor, bias: Tensor | None, window: Any) -> Tensor:
        ctx.save_for_backward(x, scales, weight)
        ctx.window, ctx.has_bias = window, bias is not None
        return F.conv2d(x * scales[:, :, None, None], weight, bias, *window)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor, Tensor | None, None]:
        (gradient,) = gradients
        x, scales, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.window
        unscaled = torch.stack(
            [
                torch.ops.aten.convolution_backward(
                    its, one, weight, None, stride, padding, dilation, False, (0, 0), groups, (False, True, False)
                )[1]
                for one, its in zip(x.split(1), gradient.split(1), strict=True)
            ]
        )
        by_weight = (_by_weight(scales, groups, len(weight)) * unscaled).sum(0)
        by_scales = _by_channel((weight * unscaled).sum((3, 4)), groups)
        by_bias = gradient.sum((0, 2, 3)) if ctx.has_bias else None
        return None, by_scales, by_weight, by_bias, None


def _by_weight(scales: Tensor, groups: int, out_channels: int) -> Tensor:
    """Factors (B, C) for kernels whose filters see C / groups channels each: (B, C', C / groups, 1, 1)."""
    by_group = scales.view(len(scales), groups, -1)
    return by_group.repeat_interleave(out_channels // groups, 1)[:, :, :, None, None]


def _by_channel(sums: Tensor, groups: int) -> Tensor:
    """Sums over each filter's own input channels (B, C', C / groups), added up by input channel: (B, C)."""
    return sums.view(len(sums), groups, -1, sums.shape[2]).sum(2).flatten(1)
