"""Statistics of the check, as pure functions.

A suite's own n seeds are compared with stored values of the same seeds, g_1 .. g_n, and with those of m others,
r_1 .. r_m. s is the deviation of all stored values. Nothing below needs normal accuracies for its level; only what is
said to be detectable (``bench.reference.power``) is worked out for normal ones.

**Alarm.** The new values x_1 .. x_n are expected where a regression on the stored values of the same seeds puts their
mean: a baseline covariate, as in an analysis of covariance (Frison and Pocock 1992).

    expected = mean(r) + w * (mean(g) - mean(r))
    limit    = expected - t(1 - a, m + n - 1) * s * sqrt((1 + w^2 - 2 w p) / n + (1 - w)^2 / m)

p is the share of the variance between seeds that a seed repeats under another rounding; it is learned from repeated
seeds, w = p. Without any, p = 0 and w = n / (m + n), which makes it the mean of all stored values: the smallest margin
that is wide enough for every p. New values whose mean is not below that of the same seeds before raise no alarm. An
alarm costs time and decides nothing, so its level is set by what may be spent on healthy suites.

**Decision.** The seeds of the reference run again, so that every stored value has a new one beside it. Where the code
is healthy, old and new value of a seed are exchangeable, however seeds are distributed, and their difference is
symmetric about 0. It remains so if new values spread more widely, as long as both are symmetric (Scheffe 1970 on the
Behrens-Fisher problem by pairs). Wilcoxon's signed-rank test (Wilcoxon 1945; exact, with ties by Pratt 1959 and
Hollander and Wolfe 1999, section 3.1) then has the level that it is given. Where k pairs are so few that 2^-k exceeds
that level, Student's paired t-test takes its place: it is conservative for symmetric distributions with long tails
(Benjamini 1983). A suite fails only if both alarm and decision say so, so that the level of the decision bounds the
probability that a healthy one fails, whatever raises the alarm.

**Collapse.** Ranks see a drop of most seeds, not one of a few, however deep it is. A seed has collapsed if it is below
both the mean and its own stored value by 10 points and by 8 deviations. A suite fails too if one of the own seeds and a
third of the repeated ones have collapsed. No level follows from this: docs/reliability.md has what simulated seeds do.

**Many rows** are tested at once. With levels by Sidak (1967), 1 - (1 - A)^(1/k) for k tests, the probability of any
failure in a healthy suite is A, or less if the tests are positively correlated, as are the strategies of one run.

Speeds are tested on logarithms by the pooled, one-sided two-sample t-test, as are MLPerf's convergence points, and so
are means that are too good, which is a warning:

    limit = mean(r) - t(1 - a, m + n - 2) * s * sqrt(1/m + 1/n)
    s^2   = ((m - 1) s_r^2 + (n - 1) s_x^2) / (m + n - 2)
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special  # scipy.stats takes a second to import

FALSE_ALARMS = 0.01
"""Probability that a healthy suite fails, over all its rows; also that a mean is too good, or a speed too low."""
COLLAPSE_SHARE = 0.1
"""Share of it for seeds that collapse; the rest is for the pairs of all seeds."""
COLLAPSE_POINTS = 10.0
COLLAPSE_DEVIATIONS = 8.0
"""The least distances of a seed that has collapsed. Few stored values underestimate the deviation, points do not."""
COLLAPSED_SEEDS = 1 / 3
"""Share of the repeated seeds that must have collapsed."""
ALARMS = 0.25
"""Probability of any alarm in a healthy suite, over all rows, if nothing of a seed repeats: each costs minutes."""
REPEATS_CONFIDENCE = 0.9
"""Confidence of the upper bound of the variance of repeated seeds."""
MOST_REPEATED = 0.95
"""No more is believed to repeat: a machine that nobody tried may round in yet another way."""


@dataclass(frozen=True)
class Levels:
    """Levels of the single tests of one row, one-sided.

    Attributes:
        alarm: of the alarm by the mean of the own seeds.
        pairs: of the decision by the pairs of all seeds.
    """

    alarm: float
    pairs: float

    @classmethod
    def of(cls, rows: int) -> Levels:
        """The levels for ``rows`` rows tested together."""
        return cls(
            alarm=sidak(ALARMS, rows),
            pairs=sidak(FALSE_ALARMS * (1 - COLLAPSE_SHARE), rows),
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
    """The distance from the mean of ``reference`` that a mean of ``new`` passes with probability ``level``.

    Args:
        reference: at least two values.
        new: at least one.
        level: of the one-sided test.
        least: lower bound of the deviation.
    """
    m, n = len(reference), len(new)
    return quantile(level, m + n - 2) * pooled_deviation(reference, new, least) * math.sqrt(1 / m + 1 / n)


@functools.cache
def quantile(level: float, freedom: int) -> float:
    """The value that Student's t exceeds with probability ``level``."""
    return float(special.stdtrit(freedom, 1 - level))


# Repeated seeds ------------------------------------------------------------------------------------------------------


def repeatability(repeats: Sequence[tuple[float, float]], spread: float) -> float | None:
    """The share of the variance between seeds that a seed repeats under another rounding; None without repeats.

    A lower bound, with the upper one of the variance of repeats (chi squared), and at most 95 %.

    Args:
        repeats: stored and repeated value of seeds.
        spread: deviation between seeds.

    >>> round(repeatability([(90.0, 90.3), (91.0, 90.7)] * 10, 1.0), 3)
    0.928
    """
    if not repeats or spread <= 0:
        return None
    squares = sum((stored - repeated) ** 2 / 2 for stored, repeated in repeats)
    variance = squares / float(special.chdtri(len(repeats), REPEATS_CONFIDENCE))
    return min(MOST_REPEATED, max(0.0, 1 - variance / spread**2))


# Alarm ---------------------------------------------------------------------------------------------------------------


def weight(m: int, n: int, repeated: float | None) -> float:
    """Weight of the n stored values of the same seeds in what is expected, beside m others.

    >>> weight(12, 3, None), weight(12, 3, 0.9)
    (0.2, 0.9)
    """
    return n / (m + n) if repeated is None else repeated


def alarm_factor(m: int, n: int, level: float, repeated: float | None, *, own: bool) -> float:
    """The distance, in deviations, below what is expected at which a mean of n values raises an alarm.

    Args:
        m: number of stored values of other seeds.
        n: number of new values.
        level: of the alarm.
        repeated: the repeatability, None if unknown.
        own: whether the same n seeds have stored values too.
    """
    if not own:
        return quantile(level, m - 1) * math.sqrt(1 / n + 1 / m)
    w, p = weight(m, n, repeated), repeated or 0.0
    return quantile(level, m + n - 1) * math.sqrt((1 + w**2 - 2 * w * p) / n + (1 - w) ** 2 / m)


# Decision ------------------------------------------------------------------------------------------------------------


def drop_p_value(differences: Sequence[float], level: float, least: float = 0.0) -> float:
    """The p-value of a drop, by differences of the same seeds, new minus stored.

    Args:
        differences: at least two.
        level: at which it will be judged; it decides on the test.
        least: lower bound of their deviation, for the t-test.
    """
    if ranks_suffice(len(differences), level):
        return signed_rank(differences)
    return paired_t(differences, least)


def ranks_suffice(pairs: int, level: float) -> bool:
    """Whether the signed ranks of this many pairs can reach a level at all.

    >>> ranks_suffice(10, 0.001), ranks_suffice(9, 0.001)
    (True, False)
    """
    return bool(2.0**-pairs <= level)


def signed_rank(differences: Sequence[float]) -> float:
    """Wilcoxon's signed-rank test of a drop, exact with ties; differences of 0 tell nothing and are left out.

    >>> signed_rank([-1.0, -2.0, -3.0])
    0.125
    """
    nonzero = np.array([each for each in differences if each != 0])
    if not len(nonzero):
        return 1.0
    from scipy import stats

    # Twice the ranks are whole numbers, with ties as well. Rounded: equal differences of accuracies may differ in bits.
    doubled = np.rint(2 * stats.rankdata(np.round(np.abs(nonzero), 9))).astype(int)
    ways = subset_sums(tuple(sorted(doubled.tolist())))
    positive = int(doubled[nonzero > 0].sum())
    return float(ways[: positive + 1].sum() / ways.sum())


@functools.lru_cache(maxsize=256)
def subset_sums(parts: tuple[int, ...]) -> NDArray[np.float64]:
    """The number of subsets of ``parts`` by their sum."""
    ways = np.zeros(sum(parts) + 1)
    ways[0] = 1
    for part in parts:
        ways[part:] = ways[part:] + ways[: len(ways) - part]
    return ways


def paired_t(differences: Sequence[float], least: float = 0.0) -> float:
    """Student's paired t-test of a drop, with a lower bound of the deviation of the differences."""
    center, spread = statistics.fmean(differences), deviation(differences, least)
    if spread == 0:
        return 0.0 if center < 0 else 1.0
    return float(special.stdtr(len(differences) - 1, center / spread * math.sqrt(len(differences))))


def collapse_margin(spread: float) -> float:
    """The distance, in points, below which a seed has collapsed, see above.

    >>> collapse_margin(0.5), collapse_margin(2.0)
    (10.0, 16.0)
    """
    return max(COLLAPSE_POINTS, COLLAPSE_DEVIATIONS * spread)


def enough_collapsed(collapsed: int, seeds: int) -> bool:
    """Whether as many of the repeated seeds have collapsed as confirm it.

    >>> [enough_collapsed(count, 12) for count in (3, 4)]
    [False, True]
    """
    return collapsed >= math.ceil(COLLAPSED_SEEDS * seeds)
