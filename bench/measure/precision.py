"""The precision of a cell's arithmetic.

float32   every operation in float32, on a GPU too, where PyTorch's own default for convolutions is TF32
tf32      on a GPU, the factors of matrix products and convolutions are rounded to 10 bits; they are summed in float32
bf16      matrix products and convolutions in bfloat16 (PyTorch's autocast); weights, their updates, goodness, sums over
          maps, normalisations and losses stay in float32
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from bench.records.cells import Precision


@contextlib.contextmanager
def computing(precision: Precision, device: torch.device) -> Iterator[None]:
    """Run the body in a precision; PyTorch's settings are as before afterwards."""
    products: Any = torch.backends.cuda.matmul
    convolutions: Any = torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = precision == "tf32"
    # Without the cache: it keeps the rounded weights until the body ends, whatever an optimiser does to the weights.
    half = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)
    try:
        with half:
            yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before
