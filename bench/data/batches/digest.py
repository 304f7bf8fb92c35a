"""What a loader gives, as a short text: two runs on the same data, prepared in the same way, have the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

from bench.data.batches.plan import Batch
from bench.data.sets.splits import Split

STEPS_PER_UNIT = 1000
"""Normalised pixels are rounded to this fraction, so that another processor's last bit changes nothing."""


def of_batches(split: Split, batches: Iterable[Batch]) -> str:
    """Digest of a split's samples and labels and of the first batch that a loader makes of them.

    Another selection of samples, other labels, another order, augmentation or normalisation: each gives another digest.
    """
    images, labels = next(iter(batches))
    digest = hashlib.sha256()
    for tensor in (split.indices, split.labels, (images.cpu() * STEPS_PER_UNIT).round().to(torch.int32), labels.cpu()):
        digest.update(_bytes(tensor))
    return digest.hexdigest()[:16]


def _bytes(tensor: Tensor) -> bytes:
    return str(tuple(tensor.shape)).encode() + tensor.contiguous().numpy().tobytes()
