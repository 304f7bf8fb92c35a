"""A loader's output as a short text, equal for two runs on the same data, prepared in the same way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

from bench.data.batches.plan import Batch
from bench.data.sets.splits import Split

STEPS_PER_UNIT = 1000
"""Normalised pixels are rounded to this fraction, so that last-bit differences between processors do not matter."""


def of_batches(split: Split, batches: Iterable[Batch]) -> str:
    """Digest of a split's samples and labels and of the first batch that a loader makes from them.

    Any other selection of samples, labels, order, augmentation or normalisation gives another digest.
    """
    images, labels = next(iter(batches))
    digest = hashlib.sha256()
    for tensor in (split.indices, split.labels, (images.cpu() * STEPS_PER_UNIT).round().to(torch.int32), labels.cpu()):
        digest.update(_bytes(tensor))
    return digest.hexdigest()[:16]


def _bytes(tensor: Tensor) -> bytes:
    return str(tuple(tensor.shape)).encode() + tensor.contiguous().numpy().tobytes()
