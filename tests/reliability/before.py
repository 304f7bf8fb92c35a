"""The statistics that the gate had before it compared pairs of seeds, for comparison only.

An alarm by a pooled two-sample t-test of the means, or by a single value; as many fresh seeds confirm it by the same
two rules at 5 %. Both rules take seeds for normal and equally spread. Arrays hold suites by seeds.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, stats

from bench.reference.power import LARGEST_DROP, POWER, Found, Values
from bench.reference.significance import sidak

FALSE_ALARMS = 0.01
SINGLE_SHARE = 0.2
CONFIRMATION = 0.05


def judge(reference: Values, new: Values, fresh: Values, rows: int, least: float = 0.0) -> tuple[Found, Found]:
    """Where an alarm is raised, and where fresh values confirm it too."""
    n = new.shape[1]
    single = sidak(FALSE_ALARMS * SINGLE_SHARE, rows * n)
    alarms = _low(reference, new, sidak(FALSE_ALARMS * (1 - SINGLE_SHARE), rows), single, least)
    return alarms, alarms & _low(reference, fresh, CONFIRMATION, sidak(CONFIRMATION, n), least)


def _low(reference: Values, new: Values, level: float, single: float, least: float) -> Found:
    m, n = reference.shape[1], new.shape[1]
    squares = (m - 1) * reference.var(axis=1, ddof=1) + (n * new.var(axis=1) if n > 1 else 0.0)
    pooled = np.maximum(np.sqrt(squares / (m + n - 2)), least)
    spread = np.maximum(reference.std(axis=1, ddof=1), least)
    drop = reference.mean(axis=1) - new.mean(axis=1)
    deepest = reference.mean(axis=1) - new.min(axis=1)
    mean_limit = stats.t.ppf(1 - level, m + n - 2) * pooled * math.sqrt(1 / m + 1 / n)
    return np.asarray((drop > mean_limit) | (deepest > stats.t.ppf(1 - single, m - 1) * spread * math.sqrt(1 / m + 1)))


def detectable(m: int, n: int, rows: int) -> float:
    """The smallest drop, in deviations, that was said to be found and confirmed with probability 80 %."""
    level = sidak(FALSE_ALARMS * (1 - SINGLE_SHARE), rows)

    def power(drop: float, level: float) -> float:
        quantile = stats.t.ppf(1 - level, m + n - 2)
        return float(stats.nct.sf(quantile, m + n - 2, drop / math.sqrt(1 / m + 1 / n)))

    def missing(drop: float) -> float:
        return power(drop, level) + power(drop, CONFIRMATION) - 1 - POWER

    return float(optimize.brentq(missing, 1e-6, LARGEST_DROP)) if missing(LARGEST_DROP) > 0 else math.inf
