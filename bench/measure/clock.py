"""Wall-clock time of segments."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch


def now(device: torch.device) -> float:
    """Seconds on a monotonic clock, after all work queued on the device is done: for segments, not for steps."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@dataclass(frozen=True)
class Rate:
    """Images per second over several segments; ``noisy`` if all of them were disturbed."""

    median: float
    minimum: float
    iqr: float
    noisy: bool


def rate(images: Sequence[int], seconds: Sequence[float], noisy: Sequence[bool]) -> Rate:
    """Median, minimum and interquartile range of the rate over the undisturbed segments after the first.

    The first segment includes compilation, first allocations and cold caches; it counts only if it is the only one.
    Noisy segments count only if there are no others: an epoch cannot be repeated just for its time.

    >>> rate([100, 100, 100, 100], [50.0, 2.0, 1.0, 20.0], [False, False, False, True])
    Rate(median=75.0, minimum=50.0, iqr=25.0, noisy=False)
    """
    rates = [count / time for count, time in zip(images, seconds, strict=True)]
    warm = list(zip(rates, noisy, strict=True))[1:] or [(rates[0], noisy[0])]
    quiet = [value for value, disturbed in warm if not disturbed]
    counted = quiet or [value for value, _ in warm]
    if len(counted) == 1:
        return Rate(counted[0], counted[0], 0.0, not quiet)
    quartiles = statistics.quantiles(counted, n=4, method="inclusive")
    return Rate(statistics.median(counted), min(counted), quartiles[2] - quartiles[0], not quiet)
