"""What steps of all methods need of tensors: constants of shapes, full precision, labels as vectors."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")
MADE: dict[str, Tensor] = {}
"""All constants that were made. A dictionary of strings, not ``functools.cache``: PyTorch's compiler, which takes what
it finds here as it is, would make what a cached function returns again in every call."""


def constant(make: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Make each of a function's tensors once, for arguments that are no tensors; they are shared, and read only.

    A copy to a GPU in every step would wait for everything queued there. An inference tensor could not serve later
    calls, which may differentiate.
    """
    name = f"{make.__module__}.{make.__qualname__}"

    @wraps(make)
    def get(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        key = f"{name}{args}{kwargs}"
        if key not in MADE:
            with torch.inference_mode(False):
                MADE[key] = make(*args, **kwargs)
        return MADE[key]

    return get


def in_full_precision(device: torch.device) -> torch.autocast:
    """A context without autocast: operations keep the dtypes of their inputs."""
    return torch.autocast(device.type, enabled=False)


def at_least_float32(x: Tensor) -> Tensor:
    """The same values in float32, or in float64 as they are: sums of many values lose digits in bfloat16."""
    return x.to(wide(x))


def wide(x: Tensor) -> torch.dtype:
    """The dtype of ``at_least_float32``."""
    return torch.promote_types(x.dtype, torch.float32)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """1 in the column of its label, 0 elsewhere: (B,) int64 -> (B, N) float32.

    As ``torch.nn.functional.one_hot``, which looks at the labels first and so, on a GPU, waits for all that is queued.
    """
    vectors = torch.zeros(len(labels), classes, device=labels.device)
    return vectors.scatter_(1, labels[:, None], 1)
