"""What drop a check detects, by simulated suites that are judged by the rules of ``bench.reference.significance``.

Every rule is here once more, for many suites at a time: an array holds suites by seeds, the own ones first. The tests
hold both to the same answers.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.reference import significance
from bench.reference.significance import Levels, quantile

POWER = 0.8
"""Probability that a drop is found and confirmed for it to count as detectable."""
LARGEST_DROP = 1e3
"""Largest drop considered, in deviations; no accuracy falls by more."""
DRAWS = 4000
"""Simulated suites behind a detectable drop: the power is known within 0.02."""

Values = NDArray[np.float64]
"""Suites by seeds, the own ones first."""
Found = NDArray[np.bool_]
"""Whether something was found, suite by suite."""


@dataclass(frozen=True)
class Design:
    """A row of a suite, as far as its statistics depend on it.

    Attributes:
        m: number of stored seeds that are not the suite's own.
        n: number of own seeds.
        rows: number of rows tested together.
        repeated: the repeatability of a seed; None if unknown.
        own: whether the own seeds have stored values.
        least: lower bound of deviations, in the unit of the values.
    """

    m: int
    n: int
    rows: int
    repeated: float | None = None
    own: bool = True
    least: float = 0.0

    def low(self, stored: Values, new: Values) -> Found:
        """Where the mean of the own seeds raises an alarm."""
        n, weight = self.n, significance.weight(self.m, self.n, self.repeated)
        mean, others = new[:, :n].mean(axis=1), stored[:, n:].mean(axis=1)
        same = stored[:, :n].mean(axis=1) if self.own else others
        level = Levels.of(self.rows).alarm
        margin = significance.alarm_factor(self.m, n, level, self.repeated, own=self.own) * self._spread(stored)
        return np.asarray((mean < same) & (mean < others + weight * (same - others) - margin))

    def lower(self, stored: Values, new: Values) -> Found:
        """Where the pairs of all seeds show a drop."""
        differences = (new - stored)[:, 0 if self.own else self.n :]
        pairs, level = differences.shape[1], Levels.of(self.rows).pairs
        if not significance.ranks_suffice(pairs, level):
            spread = np.maximum(differences.std(axis=1, ddof=1), self.least)
            return np.asarray(differences.mean(axis=1) / spread * math.sqrt(pairs) < -quantile(level, pairs - 1))
        ranks = np.abs(differences).argsort(axis=1).argsort(axis=1) + 1
        return np.asarray((ranks * (differences > 0)).sum(axis=1) <= _critical(pairs, level))

    def collapsed(self, stored: Values, new: Values) -> tuple[Found, Found]:
        """Where one of the own seeds, and where enough of the others, have collapsed; values in points."""
        center = stored[:, self.n :].mean(axis=1, keepdims=True)
        before = np.minimum(stored, center)
        if not self.own:
            before[:, : self.n] = center
        deviations = significance.COLLAPSE_DEVIATIONS * self._spread(stored)[:, None]
        fallen = new < before - np.maximum(significance.COLLAPSE_POINTS, deviations)
        enough = math.ceil(significance.COLLAPSED_SEEDS * self.m)
        return fallen[:, : self.n].any(axis=1), fallen[:, self.n :].sum(axis=1) >= enough

    def judge(self, stored: Values, new: Values) -> tuple[Found, Found]:
        """Where an alarm is raised, and where it is confirmed too; values in points."""
        own, others = self.collapsed(stored, new)
        alarms = self.low(stored, new) | own
        return alarms, alarms & (self.lower(stored, new) | (own & others))

    def _spread(self, stored: Values) -> Values:
        spread = stored[:, 0 if self.own else self.n :].std(axis=1, ddof=1)
        return np.asarray(np.maximum(spread, self.least))


@functools.cache
def _critical(pairs: int, level: float) -> int:
    """The largest sum of positive ranks whose probability, with any smaller, is at most ``level``."""
    shares = significance.subset_sums(tuple(range(1, pairs + 1))).cumsum() / 2.0**pairs
    return int((shares <= level).sum()) - 1


def normal_suites(design: Design, draws: int = DRAWS) -> tuple[Values, Values]:
    """Stored and new values of healthy suites, with mean 0 and deviation 1 and the design's repeatability."""
    generator = np.random.default_rng(0)
    common, before, after = generator.normal(size=(3, draws, design.m + design.n))
    share = design.repeated or 0.0
    alone = math.sqrt(1 - share)
    return math.sqrt(share) * common + alone * before, math.sqrt(share) * common + alone * after


@functools.cache
def detectable(design: Design) -> float:
    """The smallest drop, in deviations, that raises an alarm and is confirmed with probability 80 %.

    The simulated suites are the same for every drop, and normal; a collapse is left out, and every seed falls alike.
    Infinite if no reasonable drop is found.
    """
    stored, new = normal_suites(design)

    def power(drop: float) -> float:
        return float((design.low(stored, new - drop) & design.lower(stored, new - drop)).mean())

    if power(LARGEST_DROP) < POWER:
        return math.inf
    low, high = 0.0, LARGEST_DROP
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high
