"""Floating-point operations, counted from the operators that really run (2 per multiply-add)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def count(run: Callable[[], Any]) -> int:
    """FLOPs of all matrix multiplications and convolutions that ``run`` performs, backward passes included.

    Eager code only, outside timed code.
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
    """Each of the two gradients costs what the forward costs: every weight meets every position it was used at.

    PyTorch's own formula counts the weight gradient of a grouped convolution ``groups`` times too high.
    """
    positions = x_shape[2:] if transposed else grad_out_shape[2:]
    forward = 2 * x_shape[0] * math.prod(positions) * math.prod(w_shape)
    return forward * (int(output_mask[0]) + int(output_mask[1]))
