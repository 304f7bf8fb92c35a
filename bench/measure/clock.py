"""Time in segments."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch


def now(device: torch.device) -> float:
    """Seconds on a monotonic clock, once all work queued on the device is done: for segments, never for steps."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@dataclass(frozen=True)
class Rate:
    """Images per second over several segments."""

    median: float
    minimum: float
    iqr: float


def rate(images: Sequence[int], seconds: Sequence[float]) -> Rate:
    """Median, minimum and interquartile range of the rate over the segments after the first.

    The first one holds compilation, first allocations and cold caches; where it is the only one, it has to serve.

    >>> rate([100, 100, 100], [50.0, 2.0, 1.0])
    Rate(median=75.0, minimum=50.0, iqr=25.0)
    """
    rates = [count / time for count, time in zip(images, seconds, strict=True)]
    warm = rates[1:] or rates
    if len(warm) == 1:
        return Rate(warm[0], warm[0], 0.0)
    quartiles = statistics.quantiles(warm, n=4, method="inclusive")
    return Rate(statistics.median(warm), min(warm), quartiles[2] - quartiles[0])
