"""Healthy suites: how often does the gate raise an alarm, and how often does it fail, when nothing is wrong?

    python tests/reliability/false_alarms.py run        train fresh seeds, which the references do not hold
    python tests/reliability/false_alarms.py count      draw suites from them, thousands of times
    python tests/reliability/false_alarms.py recount    the same from the committed accuracies of an earlier count

Every drawn suite takes the fresh seeds, in another order for every method, as if they were the suite's own seeds and
those of the reference, run again: the hardest case, in which nothing of a seed repeats.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from planting import ROOT

from bench import records, suites
from bench.records import CellSpec, Record
from bench.reference import check as checking
from bench.reference import costs, measured
from bench.reference.baseline import Baseline
from bench.reference.measured import Measured

SUITE = "ci"
FRESH = 20
DRAWS = 10_000
SEED = 0
RESULTS = ROOT / "results" / "reliability"
RUNS = ROOT / "results" / "runs" / "reliability" / "clean"


def load() -> Measured:
    """The suite's references; they must exist."""
    stored = measured.load(SUITE)
    if stored is None:
        sys.exit(f"there are no references for {SUITE}")
    return stored


def fresh_seeds(stored: Measured) -> range:
    """The first seeds that the references do not contain."""
    last = max([value.seed for row in stored.rows for value in row.values] + [golden.seed for golden in stored.goldens])
    return range(last + 1, last + 1 + FRESH)


def run(runs: Path) -> None:
    """Train the fresh seeds."""
    seeds = ["--first-seed", str(fresh_seeds(load())[0]), "--seeds", str(FRESH)]
    command = [sys.executable, "-m", "bench", "run", SUITE, *seeds, "--no-plots", "--out", str(runs)]
    subprocess.run(command, check=True)


def count(runs: Path) -> None:
    """Draw suites and count how many raised an alarm and how many failed."""
    stored = load()
    expected = suites.expected(suites.load(SUITE))
    seeds = fresh_seeds(stored)
    experiments = {cell.experiment for cell, _ in expected}
    fresh = [r for r in records.read_all(runs).records if r.cell.experiment in experiments and r.cell.seed in seeds]
    own = len(expected) // len(experiments)
    found = {**draw(values(fresh), stored, own), **draw_costs(expected, fresh, stored), "fresh": values(fresh)}
    write(found)


def recount() -> None:
    """Draw suites from the committed accuracies; what was counted of memory and speed stays."""
    found = json.loads((RESULTS / "false-alarms.json").read_text())
    fresh = {row: {int(seed): value for seed, value in by_seed.items()} for row, by_seed in found["fresh"].items()}
    write(found | draw(fresh, load(), suites.load(SUITE).seeds))


def write(found: dict[str, object]) -> None:
    """Write the counts, and print the most important ones."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "false-alarms.json").write_text(json.dumps(found, indent=1) + "\n")
    print({name: found[name] for name in ("suites", "alarms", "failures")})


def draw(fresh: dict[str, dict[int, float]], stored: Measured, own: int, draws: int = DRAWS) -> dict[str, object]:
    """Alarms and failures of many drawn suites, and alarms by row.

    Args:
        fresh: accuracy by row and seed.
        stored: the suite's references.
        own: number of the suite's own seeds.
        draws: number of suites.
    """
    chance = random.Random(SEED)
    rows = {f"{row.method}/{row.strategy}": row for row in stored.rows}
    kept = {name: Baseline.of(stored, rows[name].experiment, rows[name].strategy, range(own)) for name in fresh}
    alarms = failures = 0
    by_row: Counter[str] = Counter()
    for _ in range(draws):
        orders: dict[str, list[int]] = {}
        alarm = failure = False
        for name, row in kept.items():
            if row is None:
                continue
            order = orders.setdefault(rows[name].method, chance.sample(sorted(fresh[name]), len(fresh[name])))
            new = {seed: fresh[name][order[seed]] for seed in range(own)}
            if not (row.low(new, len(rows)) or row.collapsed(new)):
                continue
            alarm = True
            by_row[name] += 1
            rest = order[own:]
            again = {seed: fresh[name][rest[index % len(rest)]] for index, seed in enumerate(row.others)}
            failure |= row.confirms(new, again, len(rows))
        alarms += alarm
        failures += failure
    return {"suites": draws, "alarms": alarms, "failures": failures, "alarms by row": dict(by_row)}


def draw_costs(
    expected: list[tuple[CellSpec, tuple[str, ...]]], fresh: list[Record], stored: Measured, draws: int = DRAWS
) -> dict[str, object]:
    """Verdicts on memory and speed of many drawn suites; alarms of them are never confirmed."""
    chance = random.Random(SEED)
    experiments = list(dict.fromkeys(cell.experiment for cell, _ in expected))
    own = len(expected) // len(experiments)
    pools = {key: [record for record in fresh if record.cell.experiment == key] for key in experiments}
    cost = {cost.experiment: cost for cost in stored.costs}
    of_memory: Counter[str] = Counter()
    of_speed: Counter[str] = Counter()
    slower: Counter[str] = Counter()
    for _ in range(draws):
        for key, pool in pools.items():
            drawn = chance.sample(pool, own)
            blank = checking.blank(drawn[0].cell.task, drawn[0].cell.method, key)
            of_memory[costs.memory(blank, drawn, cost.get(key)).verdict] += 1
            if drawn[0].cell.yardstick is not None:
                verdict = costs.speed(blank, drawn, cost.get(key), len(experiments)).verdict
                of_speed[verdict] += 1
                slower[drawn[0].cell.method] += verdict == "slower"
    return {"memory": dict(of_memory), "speed": dict(of_speed), "slower by method": dict(+slower)}


def values(fresh: list[Record]) -> dict[str, dict[int, float]]:
    """Accuracy by row and seed."""
    found: dict[str, dict[int, float]] = {}
    for record in sorted(fresh, key=lambda record: record.cell.seed):
        for part in record.strategies:
            found.setdefault(f"{record.cell.method}/{part.strategy}", {})[record.cell.seed] = part.accuracy
    return found


def main() -> None:
    """Train the seeds or count the alarms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "count", "recount"])
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of runs")
    options = parser.parse_args()
    if options.action == "recount":
        recount()
    else:
        {"run": run, "count": count}[options.action](options.runs)


if __name__ == "__main__":
    main()
