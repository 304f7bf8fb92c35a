"""Statistics of accuracies over seeds: confidence intervals of means, and the deviation due to a finite test set."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy import special

CONFIDENCE = 0.95


def half_width(values: Sequence[float]) -> float | None:
    """Half the width of the 95 % Student-t interval of a mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    # The quantile of Student's t; scipy.stats gives the same one, but takes half a second to import.
    quantile = float(special.stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


def binomial_deviation(percent: float, samples: int) -> float:
    """Standard deviation, in points, of an accuracy (per cent) on this many independent samples."""
    share = min(1.0, max(0.0, percent / 100))
    return 100 * math.sqrt(share * (1 - share) / samples)
