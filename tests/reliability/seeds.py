"""Simulated seeds: does the gate keep its promise where seeds are not normal, and what drop does it detect?

    python tests/reliability/seeds.py      a minute on one core; writes results/reliability/seeds.json

Suites are drawn with the numbers of rows and seeds, the means and the deviations of real references, and judged by the
gate's rules and by those it had before (``before``). Nothing of a seed repeats, unless a distribution says so: a new
value of a seed is as far from its stored one as that of another seed.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import before
import numpy as np
from planting import ROOT

from bench import suites
from bench.reference import measured
from bench.reference.baseline import Baseline
from bench.reference.power import POWER, Design, Found, Values, detectable

RESULTS = ROOT / "results" / "reliability" / "seeds.json"
SUITES = ("ci", "quick")
DRAWS = 40_000
POWER_DRAWS = 10_000
SEED = 0
REPEATED = 0.9
"""Share of the variance between seeds that seeds repeat, in the distribution of that name."""

Draw = Callable[[np.random.Generator, tuple[int, ...]], Values]


def lognormal(generator: np.random.Generator, size: tuple[int, ...]) -> Values:
    """Logarithms have deviation 1; mean 0, deviation 1."""
    return (generator.lognormal(0.0, 1.0, size) - math.exp(0.5)) / math.sqrt((math.e - 1) * math.e)


@dataclass(frozen=True)
class Shape:
    """A distribution of seeds with mean 0 and deviation 1.

    Attributes:
        draw: draws stored and new values.
        spread: deviation of new values; the mean stays.
        repeated: share of the variance that a seed repeats.
    """

    draw: Draw
    spread: float = 1.0
    repeated: float = 0.0

    def values(self, generator: np.random.Generator, size: tuple[int, ...]) -> tuple[Values, Values]:
        """Stored and new values of the same seeds."""
        common = self.draw(generator, size) * math.sqrt(self.repeated)
        stored, new = (common + self.draw(generator, size) * math.sqrt(1 - self.repeated) for _ in range(2))
        return stored, new * self.spread


NORMAL = Shape(lambda generator, size: generator.normal(size=size))
T3 = Shape(lambda generator, size: generator.standard_t(3, size) / math.sqrt(3))
LEFT = Shape(lambda generator, size: 1 - generator.exponential(size=size))
RIGHT = Shape(lambda generator, size: generator.exponential(size=size) - 1)
SHAPES = {
    "normal": NORMAL,
    "normal, of which a seed repeats 90 %": replace(NORMAL, repeated=REPEATED),
    "long tails (t with 3 degrees of freedom)": T3,
    "skewed to the left (exponential)": LEFT,
    "skewed to the left (lognormal)": Shape(lambda generator, size: -lognormal(generator, size)),
    "skewed to the right (exponential)": RIGHT,
}
SHAPES |= {
    f"{name}, new ones spread {words} as widely": replace(shape, spread=spread)
    for name, shape in {
        "normal": NORMAL,
        "long tails": T3,
        "skewed to the left": LEFT,
        "skewed to the right": RIGHT,
    }.items()
    for words, spread in (("1.5 times", 1.5), ("twice", 2.0))
}


@dataclass(frozen=True)
class Row:
    """A row of a reference, with what its simulated seeds need.

    Attributes:
        baseline: the stored values, with the repeats that there are.
        design: the row without repeats, so that all rows are simulated alike.
    """

    name: str
    baseline: Baseline
    design: Design


def rows_of(suite: str) -> list[Row]:
    """The rows of a suite's references."""
    stored = measured.load(suite)
    if stored is None:
        sys.exit(f"there are no references for {suite}")
    own = suites.load(suite).seeds
    rows = []
    for row in stored.rows:
        kept = Baseline.of(stored, row.experiment, row.strategy, range(own))
        if kept is not None:
            design = Design(len(kept.others), own, len(stored.rows), own=bool(kept.own), least=kept.least)
            rows.append(Row(f"{row.method}/{row.strategy}", kept, design))
    return rows


def healthy(rows: list[Row], shape: Shape, draws: int) -> dict[str, dict[str, int]]:
    """Healthy suites that raise an alarm and that fail, before and after."""
    generator = np.random.default_rng(SEED)
    counts = {when: [np.zeros(draws, bool), np.zeros(draws, bool)] for when in ("before", "after")}
    for row in rows:
        for when, judged in _judged(row, shape, generator, draws).items():
            for found, new in zip(counts[when], judged, strict=True):
                found |= new
    return {
        when: dict(zip(("alarms", "failures"), (int(each.sum()) for each in both), strict=True))
        for when, both in counts.items()
    }


def _judged(
    row: Row, shape: Shape, generator: np.random.Generator, draws: int, drop: float = 0.0
) -> dict[str, tuple[Found, Found]]:
    """Alarms and failures of one row, before and after; the drop is in deviations."""
    design, deviation = row.design, row.baseline.deviation
    stored, new = shape.values(generator, (draws, design.m + design.n))
    _, fresh = shape.values(generator, (draws, design.n))
    stored, new, fresh = (row.baseline.center + deviation * values for values in (stored, new - drop, fresh - drop))
    old = before.judge(stored[:, design.n :], new[:, : design.n], fresh, design.rows, design.least)
    return {"before": old, "after": design.judge(stored, new)}


def drops(row: Row) -> dict[str, float | None]:
    """The drops, in points, that a row was and is said to detect; also if nothing or most of a seed were to repeat."""
    design = replace(row.baseline.design(row.design.n, row.design.rows), repeated=None)
    found = {
        "before": _deviation_before(row) * before.detectable(design.m, design.n, design.rows),
        "nothing repeats": row.baseline.deviation * detectable(design),
        "most repeats": row.baseline.deviation * detectable(replace(design, repeated=REPEATED)),
        "after": row.baseline.detects(design.n, design.rows),
    }
    return {when: drop if math.isfinite(drop) else None for when, drop in found.items()}


def _deviation_before(row: Row) -> float:
    values = list(row.baseline.others.values())
    return max(float(np.std(values, ddof=1)), row.baseline.least)


def detected(row: Row, shape: Shape, draws: int) -> dict[str, float | None]:
    """The drops, in deviations, found and confirmed in 80 % of simulated rows, before and after."""
    found: dict[str, float | None] = {"before": None, "after": None}
    for drop in _drops():
        judged = _judged(row, shape, np.random.default_rng(SEED), draws, drop)
        for when, (_, fails) in judged.items():
            if found[when] is None and fails.mean() >= POWER:
                found[when] = drop
        if None not in found.values():
            break
    return found


def _drops() -> Iterator[float]:
    """0.1, 0.2, ... deviations, then by steps of a tenth."""
    drop = 0.1
    while drop < 1000:
        yield round(drop, 3)
        drop += max(0.1, drop / 40)


def simulate(draws: int = DRAWS, power_draws: int = POWER_DRAWS) -> dict[str, Any]:
    """Everything that the page shows."""
    found: dict[str, Any] = {"draws": draws, "repeated": REPEATED, "suites": {}}
    for suite in SUITES:
        rows = rows_of(suite)
        widest = max(rows, key=lambda row: row.baseline.deviation)
        found["suites"][suite] = {
            "values": widest.design.m,
            "own seeds": widest.design.n,
            "healthy": {name: healthy(rows, shape, draws) for name, shape in SHAPES.items()},
            "detected": {
                name: detected(widest, shape, power_draws) for name, shape in SHAPES.items() if shape.spread == 1
            },
            "drops": {
                row.name: {
                    "deviation": row.baseline.deviation,
                    "repeats": len(row.baseline.repeats),
                    "repeatability": row.baseline.repeatability,
                    **drops(row),
                }
                for row in rows
            },
        }
        print(suite, flush=True)
    return found


if __name__ == "__main__":
    RESULTS.write_text(json.dumps(simulate(), indent=1) + "\n")
