"""How long a suite would take with more workers than there are here, and what failures would cost.

Workers take cells as ``bench.running.local`` does: each the next one in the order of the suite. A worker that fails
loses what its cell has trained since its last complete epoch; it comes back, or is replaced, after a pause, and its
cell waits until its claim is stale. Failures strike each run of a cell with a given probability, at a moment that is
equally likely anywhere in it.
"""

from __future__ import annotations

import heapq
import random
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from bench.records.claims import STALE_SECONDS

DRAWS = 200
"""Simulated runs of a suite with failures; without failures one is enough."""


class Job(NamedTuple):
    """A cell: seconds that it takes, and number of its epochs, after each of which it can resume."""

    seconds: float
    epochs: int


class Forecast(NamedTuple):
    """What to expect of some number of workers.

    Attributes:
        makespan: seconds until the last cell is recorded, mean.
        spread: standard deviation of the makespan over the draws; 0 without failures.
        bound: no order of the cells could be faster: the mean load of a worker, or the longest cell.
        efficiency: share of the workers' time that trains cells, repeated work not counted.
        lost: seconds of work that failures cost, mean over the draws: trained again, or waited for.
    """

    workers: int
    makespan: float
    spread: float
    bound: float
    efficiency: float
    lost: float


def forecast(
    jobs: Sequence[Job], workers: int, *, fail_rate: float = 0.0, pause: float = 0.0, seed: int = 0
) -> Forecast:
    """Simulate a run of some cells.

    Args:
        jobs: in the order in which they start.
        workers: how many, at least one.
        fail_rate: probability that a run of a cell fails, from 0 to below 1.
        pause: seconds after which a failed worker works again.
        seed: of the failures.
    """
    total = sum(job.seconds for job in jobs)
    draws = DRAWS if fail_rate > 0 else 1
    ends, losses = [], []
    for draw in range(draws):
        end, lost = _simulated(jobs, workers, fail_rate, pause, random.Random(f"{seed} {draw}"))
        ends.append(end)
        losses.append(lost)
    makespan = statistics.fmean(ends)
    return Forecast(
        workers=workers,
        makespan=makespan,
        spread=statistics.stdev(ends) if draws > 1 else 0.0,
        bound=max(total / workers, max((job.seconds for job in jobs), default=0.0)),
        efficiency=total / (workers * makespan) if makespan else 1.0,
        lost=statistics.fmean(losses),
    )


def _simulated(
    jobs: Sequence[Job], workers: int, fail_rate: float, pause: float, draw: random.Random
) -> tuple[float, float]:
    """Seconds until the last cell is recorded, and seconds lost, of one run."""
    free = [(0.0, number) for number in range(workers)]  # when each worker takes its next cell
    heapq.heapify(free)
    waiting = [(0.0, index, job.seconds) for index, job in enumerate(jobs)]  # from when, which, seconds left
    heapq.heapify(waiting)
    end = lost = 0.0
    while waiting:
        now, worker = heapq.heappop(free)
        ready = [each for each in waiting if each[0] <= now]
        if not ready:
            heapq.heappush(free, (min(each[0] for each in waiting), worker))
            continue
        taken = min(ready, key=lambda each: each[1])
        waiting.remove(taken)
        _, index, left = taken
        if draw.random() >= fail_rate:
            end = max(end, now + left)
            heapq.heappush(free, (now + left, worker))
            continue
        worked = draw.random() * left
        epoch = jobs[index].seconds / max(1, jobs[index].epochs)
        saved = worked // epoch * epoch
        lost += worked - saved
        waiting.append((now + worked + STALE_SECONDS, index, left - saved))
        heapq.heappush(free, (now + worked + pause, worker))
    return end, lost
