"""Draws a fixed subset with the same proportions of classes."""

from __future__ import annotations

import torch
from torch import Tensor


def quotas(counts: list[int], size: int) -> list[int]:
    """The number of samples of each class in a subset of ``size``, by the method of largest remainders.

    >>> quotas([50, 30, 20], 10)
    [5, 3, 2]
    """
    total = sum(counts)
    if not 0 <= size <= total:
        raise ValueError(f"cannot draw {size} of {total} samples")
    if total == 0:
        return [0] * len(counts)
    shares = [count * size // total for count in counts]
    # Integer remainders: rounding errors of floating point would break ties.
    by_remainder = sorted(range(len(counts)), key=lambda k: (-(counts[k] * size % total), k))
    for k in by_remainder[: size - sum(shares)]:
        shares[k] += 1
    return shares


def stratified(labels: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Positions of a random subset with the same proportions of classes.

    Args:
        labels: (N,) int64.
        size: number of samples to draw, at most N.
        generator: a CPU generator.

    Returns:
        (size,) int64, ascending.

    Raises:
        ValueError: if ``size`` is negative or larger than N.
    """
    counts = torch.bincount(labels).tolist() if len(labels) else []
    chosen = []
    for label, quota in enumerate(quotas(counts, size)):
        members = torch.nonzero(labels == label).squeeze(1)
        order = torch.randperm(len(members), generator=generator)
        chosen.append(members[order[:quota]])
    if not chosen:
        return torch.empty(0, dtype=torch.int64)
    return torch.cat(chosen).sort().values
