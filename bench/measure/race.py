"""Comparable speeds: steps of several learners take turns, in one process and on one machine."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bench.measure import clock
from bench.measure.noise import quietest

ROUNDS = 9
MOST_ROUNDS = 21
"""Fewest and most rounds. Where steps are short there are more of them: many short turns share other load better than
a few long ones."""
SEGMENT_SECONDS = 0.02
"""Seconds of a segment: as many steps as fit, at least one."""


@dataclass(frozen=True)
class Race:
    """Steps per second of each contestant in each round: ``rates[contestant][round]``."""

    rates: list[list[float]]
    noisy: bool

    def rate(self, contestant: int) -> float:
        """Median steps per second."""
        return statistics.median(self.rates[contestant])

    def ratio(self, contestant: int, other: int) -> tuple[float, float]:
        """Median and interquartile range, over the rounds, of one rate relative to another of the same round."""
        ratios = [a / b for a, b in zip(self.rates[contestant], self.rates[other], strict=True)]
        quartiles = statistics.quantiles(ratios, n=4, method="inclusive")
        return statistics.median(ratios), quartiles[2] - quartiles[0]


def run(
    steps: Sequence[Callable[[], Any]],
    device: torch.device,
    rounds: int | None = None,
    *,
    beat: Callable[[], object] = lambda: None,
) -> Race:
    """Run steps in turns, A B C, C B A, A B C, ..., so that no contestant is always first.

    Each segment begins with an untimed step, since the previous one has filled the caches with other tensors. A race
    disturbed by other load is repeated, a few times at most.

    Args:
        steps: one function per contestant; all have run before.
        device: synchronised before and after each segment.
        rounds: at least two; None for as many as fit the length of the steps.
        beat: called before each segment.
    """
    once = [_seconds(step, 1, device) for step in steps]
    repeats = [max(1, round(SEGMENT_SECONDS / seconds)) for seconds in once]
    turns = rounds or max(ROUNDS, min(MOST_ROUNDS, round(MOST_ROUNDS * SEGMENT_SECONDS / max(once))))

    def race() -> list[list[float]]:
        rates: list[list[float]] = [[] for _ in steps]
        for number in range(turns):
            order = range(len(steps)) if number % 2 == 0 else reversed(range(len(steps)))
            for index in order:
                beat()
                steps[index]()
                rates[index].append(repeats[index] / _seconds(steps[index], repeats[index], device))
        return rates

    rates, noise = quietest(race)
    return Race(rates, noise.noisy)


def once(step: Callable[[], Any], device: torch.device) -> Race:
    """A single step of a single contestant, as a noisy race of two equal rounds."""
    rate = 1 / _seconds(step, 1, device)
    return Race([[rate, rate]], noisy=True)


def _seconds(step: Callable[[], Any], repeats: int, device: torch.device) -> float:
    start = clock.now(device)
    for _ in range(repeats):
        step()
    return max(1e-9, clock.now(device) - start)
