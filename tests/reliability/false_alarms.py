"""Healthy suites: how often does the gate raise an alarm, and how often does it fail, when nothing is wrong?

    python tests/reliability/false_alarms.py run      train fresh seeds, which the references do not hold
    python tests/reliability/false_alarms.py count    draw suites from them, thousands of times

Every drawn suite takes the suite's number of seeds from the fresh ones, without replacement and for every method on its
own; where a row raises an alarm, as many others of the fresh ones confirm it or do not.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path

from planting import ROOT

from bench import records, suites
from bench.records import CellSpec, Record
from bench.reference import check as checking
from bench.reference import confirm, costs, measured
from bench.reference.measured import Measured
from bench.statistics import binomial_deviation

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
    found = draw(expected, fresh, stored)
    found["fresh"] = values(fresh)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "false-alarms.json").write_text(json.dumps(found, indent=1) + "\n")
    print({name: found[name] for name in ("suites", "alarms", "failures")})


def draw(
    expected: list[tuple[CellSpec, tuple[str, ...]]], fresh: list[Record], stored: Measured, draws: int = DRAWS
) -> dict[str, object]:
    """Alarms and failures of many drawn suites, and alarms by row; alarms of memory and speed are never confirmed."""
    chance = random.Random(SEED)
    strategies = {cell.experiment: names for cell, names in expected}
    own = len(expected) // len(strategies)
    pools = {key: [record for record in fresh if record.cell.experiment == key] for key in strategies}
    rows = {(row.experiment, row.strategy): row for row in stored.rows}
    cost = {cost.experiment: cost for cost in stored.costs}
    alarms = failures = 0
    by_row: Counter[str] = Counter()
    of_memory: Counter[str] = Counter()
    of_speed: Counter[str] = Counter()
    slower: Counter[str] = Counter()
    for _ in range(draws):
        alarm = failure = False
        for key, names in strategies.items():
            drawn = chance.sample(pools[key], 2 * own)
            for name in names:
                row = rows[key, name]
                blank = checking.blank(row.task, row.method, key, name)
                if checking.accuracy(blank, drawn[:own], row, len(rows)).verdict != "regression":
                    continue
                alarm = True
                label = f"{row.method}/{name}"
                by_row[label] += 1
                reference = [value.accuracy for value in row.values]
                others = [p.accuracy for r in drawn[own:] for p in r.strategies if p.strategy == name]
                least = binomial_deviation(statistics.fmean(reference), row.samples)
                failure |= confirm.confirms(reference, others, least)
            blank = checking.blank(drawn[0].cell.task, drawn[0].cell.method, key)
            of_memory[costs.memory(blank, drawn[:own], cost.get(key)).verdict] += 1
            if drawn[0].cell.yardstick is not None:
                verdict = costs.speed(blank, drawn[:own], cost.get(key), len(strategies)).verdict
                of_speed[verdict] += 1
                slower[drawn[0].cell.method] += verdict == "slower"
        alarms += alarm
        failures += failure
    found = {"suites": draws, "alarms": alarms, "failures": failures, "alarms by row": dict(by_row)}
    return {**found, "memory": dict(of_memory), "speed": dict(of_speed), "slower by method": dict(+slower)}


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
    parser.add_argument("action", choices=["run", "count"])
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of runs")
    options = parser.parse_args()
    {"run": run, "count": count}[options.action](options.runs)


if __name__ == "__main__":
    main()
