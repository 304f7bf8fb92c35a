"""Statistics of accuracies over seeds: intervals of means, the deviation that a finite test set alone makes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy import stats

CONFIDENCE = 0.95


def half_width(values: Sequence[float]) -> float | None:
    """Half the 95 % Student-t interval of the mean of some values; None for fewer than two."""
    if len(values) < 2:
        return None
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


def binomial_deviation(percent: float, samples: int) -> float:
    """Standard deviation, in points, of an accuracy (per cent) on so many independent samples."""
    share = min(1.0, max(0.0, percent / 100))
    return 100 * math.sqrt(share * (1 - share) / samples)
