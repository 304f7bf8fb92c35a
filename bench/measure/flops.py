"""Floating-point operations, counted from the operators that are executed (2 per multiply-add)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def count(run: Callable[[], Any]) -> int:
    """FLOPs of all matrix multiplications and convolutions in ``run``, backward passes included.

    Only for eager code, outside timed code.
    """
    with FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution_backward: _conv_backward}
    ) as counter:
        run()
    return int(counter.get_total_flops())


def _conv_backward(
    grad_out_shape: list[int],
    x_shape: list[int],
    w_shape: list[int],
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    output_mask: list[bool],
    **_: Any,
) -> int:
    """FLOPs of a convolution's backward pass: each of its two gradients costs as much as the forward pass.

    PyTorch's own formula overcounts the weight gradient of a grouped convolution by a factor of ``groups``.
    """
    positions = x_shape[2:] if transposed else grad_out_shape[2:]
    forward = 2 * x_shape[0] * math.prod(positions) * math.prod(w_shape)
    return forward * (int(output_mask[0]) + int(output_mask[1]))
