"""Statistics of the check, as pure functions.

A reference has values r_1 .. r_m, a run has new values x_1 .. x_n; both are assumed normal with equal deviation.

The mean, by the pooled, one-sided two-sample t-test, as for MLPerf's reference convergence points:

    limit = mean(r) - t(1 - a, m + n - 2) * s * sqrt(1/m + 1/n)
    s^2   = ((m - 1) s_r^2 + (n - 1) s_x^2) / (m + n - 2)

Each single value, relative to the reference's deviation alone: a collapsed run inflates its own deviation and with
it the limit above; this test does not depend on it.

    limit = mean(r) - t(1 - a, m - 1) * s_r * sqrt(1/m + 1)

Many rows are tested at once. With levels by Sidak, 1 - (1 - A)^(1/k) for k tests, the probability of any alarm in a
healthy suite is A, or less if the tests are positively correlated, as are the strategies of one run.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import optimize, stats

FALSE_ALARMS = 0.01
"""Probability of any alarm in a healthy suite, over all its rows."""
SINGLE_SHARE = 0.2
"""Share of it for single values; the rest is for the means."""
CONFIRMATION = 0.05
"""Level, per row, at which fresh seeds confirm an alarm: the alarm itself has already limited false ones."""
LARGEST_DROP = 1e3
"""Largest drop considered, in deviations; no accuracy falls by more."""
POWER = 0.8
"""Probability that a drop is found and confirmed for it to count as detectable."""


@dataclass(frozen=True)
class Levels:
    """Levels of the single tests of one row, one-sided."""

    mean: float
    single: float

    @classmethod
    def of(cls, rows: int, new: int) -> Levels:
        """The levels for ``rows`` rows tested together, each with ``new`` values."""
        return cls(
            mean=sidak(FALSE_ALARMS * (1 - SINGLE_SHARE), rows),
            single=sidak(FALSE_ALARMS * SINGLE_SHARE, rows * new),
        )


def sidak(level: float, tests: int) -> float:
    """The level of each of ``tests`` independent tests whose probability of any alarm is ``level``.

    >>> round(sidak(0.01, 16), 6)
    0.000628
    """
    return -math.expm1(math.log1p(-level) / tests)


def deviation(values: Sequence[float], least: float = 0.0) -> float:
    """Standard deviation, but at least ``least``: it can be small by chance with few values."""
    return max(statistics.stdev(values), least) if len(values) > 1 else least


def pooled_deviation(reference: Sequence[float], new: Sequence[float], least: float = 0.0) -> float:
    """The common standard deviation of two samples, but at least ``least``; needs two or more reference values."""
    squares = sum((value - statistics.fmean(sample)) ** 2 for sample in (reference, new) for value in sample)
    return max(math.sqrt(squares / (len(reference) + len(new) - 2)), least)


def mean_margin(reference: Sequence[float], new: Sequence[float], level: float, least: float = 0.0) -> float:
    """The distance below the mean of ``reference`` at which a mean of ``new`` alarms: the first limit above.

    Args:
        reference: at least two values.
        new: at least one.
        level: of the one-sided test.
        least: lower bound of the deviation.
    """
    m, n = len(reference), len(new)
    return _quantile(level, m + n - 2) * pooled_deviation(reference, new, least) * math.sqrt(1 / m + 1 / n)


def single_margin(reference: Sequence[float], level: float, least: float = 0.0) -> float:
    """The distance below the mean of ``reference`` at which a single new value alarms: the second limit above."""
    m = len(reference)
    return _quantile(level, m - 1) * deviation(reference, least) * math.sqrt(1 / m + 1)


@functools.cache
def _quantile(level: float, freedom: int) -> float:
    """The value that Student's t exceeds with probability ``level``."""
    return float(stats.t.ppf(1 - level, freedom))


def power(drop: float, m: int, n: int, level: float) -> float:
    """Probability that the test of the mean finds a drop of ``drop`` deviations: noncentral t."""
    return float(stats.nct.sf(_quantile(level, m + n - 2), m + n - 2, drop / math.sqrt(1 / m + 1 / n)))


@functools.cache
def detectable(m: int, n: int, rows: int, *, confirmed: bool = True) -> float:
    """The smallest drop, in deviations, that is found with probability 80 % and confirmed by n fresh values.

    P(found and confirmed) >= P(found) + P(confirmed) - 1 holds without independence. Infinite if too few values are
    tested at too strict a level for any reasonable drop.

    >>> round(detectable(10, 3, 1, confirmed=False), 2)
    2.47
    """
    level = Levels.of(rows, n).mean

    def missing(drop: float) -> float:
        found = power(drop, m, n, level)
        return found + (power(drop, m, n, CONFIRMATION) - 1 if confirmed else 0.0) - POWER

    if not missing(LARGEST_DROP) > 0:
        return math.inf
    return float(optimize.brentq(missing, 1e-6, LARGEST_DROP))
