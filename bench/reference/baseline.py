"""What is stored on one strategy's accuracy: a value per seed, and values of seeds that were repeated."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.reference import significance
from bench.reference.measured import Measured
from bench.reference.power import Design, detectable
from bench.statistics import binomial_deviation


@dataclass(frozen=True)
class Baseline:
    """Stored accuracies of one strategy, per cent.

    Attributes:
        own: of the suite's own seeds, by seed; empty unless all of them are stored.
        others: of other seeds, by seed.
        samples: number of test images.
        repeats: stored and repeated value of seeds that were run again under another rounding.
    """

    own: dict[int, float]
    others: dict[int, float]
    samples: int
    repeats: Sequence[tuple[float, float]] = field(default=())

    @classmethod
    def of(cls, measured: Measured, experiment: str, strategy: str, own: Iterable[int]) -> Baseline | None:
        """Look up a strategy of an experiment; ``own`` are the suite's own seeds, which may be more than they were."""
        row = next((r for r in measured.rows if (r.experiment, r.strategy) == (experiment, strategy)), None)
        if row is None:
            return None
        stored = {value.seed: value.accuracy for value in row.values}
        goldens = [part for part in measured.goldens if part.experiment == experiment and strategy in part.accuracies]
        stored |= {part.seed: part.accuracies[strategy] for part in goldens}
        again = [part for part in measured.repeats if part.experiment == experiment and strategy in part.accuracies]
        mine = set(own)
        return cls(
            own={seed: stored[seed] for seed in sorted(mine)} if mine <= set(stored) else {},
            others={value.seed: value.accuracy for value in row.values if value.seed not in mine},
            samples=row.samples,
            repeats=[(stored[part.seed], part.accuracies[strategy]) for part in again if part.seed in stored],
        )

    @property
    def values(self) -> list[float]:
        """All stored values, one per seed, those of the own seeds first."""
        return [*self.own.values(), *self.others.values()]

    @property
    def center(self) -> float:
        """Mean of the seeds that are not the suite's own."""
        return statistics.fmean(self.others.values())

    @property
    def least(self) -> float:
        """The deviation that the finite test set alone explains."""
        return binomial_deviation(self.center, self.samples)

    @property
    def deviation(self) -> float:
        """Deviation between seeds."""
        return significance.deviation(self.values, self.least)

    @property
    def repeatability(self) -> float | None:
        """The share of the variance between seeds that a seed repeats; None if no seed was repeated."""
        return significance.repeatability(self.repeats, self.deviation)

    @property
    def expected(self) -> float:
        """What the mean of the own seeds is expected to be."""
        if not self.own:
            return self.center
        weight = significance.weight(len(self.others), len(self.own), self.repeatability)
        return self.center + weight * (statistics.fmean(self.own.values()) - self.center)

    def margin(self, seeds: int, rows: int) -> float:
        """The distance below what is expected at which the mean of the own seeds raises an alarm.

        Args:
            seeds: number of own seeds.
            rows: number of rows tested together.
        """
        level = significance.Levels.of(rows).alarm
        return self.deviation * significance.alarm_factor(
            len(self.others), seeds, level, self.repeatability, own=bool(self.own)
        )

    def detects(self, seeds: int, rows: int) -> float:
        """The drop, in points, that is found and confirmed with probability 80 %; infinite if there is none."""
        return self.deviation * detectable(self.design(seeds, rows))

    def design(self, seeds: int, rows: int) -> Design:
        """The row as its simulation sees it, in deviations; see ``detects`` for the arguments."""
        least = self.least / self.deviation if self.deviation else 0.0
        return Design(len(self.others), seeds, rows, self.repeatability, own=bool(self.own), least=least)

    def low(self, new: dict[int, float], rows: int) -> bool:
        """Whether the mean of the own seeds is low enough for an alarm, and lower than their stored values."""
        mean = statistics.fmean(new.values())
        before = statistics.fmean(self.own.values()) if self.own else self.center
        return mean < before and mean < self.expected - self.margin(len(new), rows)

    def collapsed(self, new: dict[int, float]) -> list[int]:
        """The seeds that fell far below both the mean and their own stored value, if they have one."""
        margin, stored = significance.collapse_margin(self.deviation), self.own | self.others
        return [seed for seed, value in new.items() if value < min(self.center, stored.get(seed, math.inf)) - margin]

    def confirms(self, own: dict[int, float], repeated: dict[int, float], rows: int) -> bool:
        """Whether all seeds together confirm an alarm.

        Args:
            own: new values of the own seeds.
            repeated: new values of all other stored seeds.
            rows: number of rows tested together.
        """
        stored, new = self.own | self.others, own | repeated
        differences = [new[seed] - value for seed, value in stored.items()]
        level = significance.Levels.of(rows).pairs
        if significance.drop_p_value(differences, level, self.least) <= level:
            return True
        again = significance.enough_collapsed(len(self.collapsed(repeated)), len(repeated))
        return bool(self.collapsed(own)) and again
