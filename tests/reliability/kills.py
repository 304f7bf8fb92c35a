"""Kills workers at random moments, two hundred times, and counts what is lost.

    PYTHONPATH=tests/bench python tests/reliability/kills.py

Three workers share a folder of twenty small cells. A worker that is killed is replaced at once. When all cells are
recorded, their records are removed and it starts again, until there were as many kills as asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import warm

from bench import records
from bench.options import RunOptions
from bench.running import suite

SUITE = """
tasks = ["digits"]
seeds = 20
epochs = 2
batch_size = 256
loader = "memory"
threads = 1
[methods.backprop]
plan = "4,M,8"
"""


def main() -> int:
    """Count, write the counts to a file, and fail if something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--pause", type=float, default=0.8, help="mean seconds between two kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/reliability/kills.json"))
    given = parser.parse_args()
    draw = random.Random(given.seed)
    place = Path(tempfile.mkdtemp(prefix="kills-"))
    os.environ.update({warm.PLACE: str(place / "socket"), warm.OWNER: str(os.getpid())})
    (place / "tiny.toml").write_text(SUITE)
    kills = rounds = lost = again = left = 0
    differing: set[str] = set()
    first: dict[str, object] = {}
    while kills < given.kills:
        runs = place / f"round-{rounds}"
        ready = suite.lay_out(RunOptions(str(place / "tiny.toml"), out=runs))
        kills += _round(runs, given.workers, given.kills - kills, given.pause, draw)
        rounds += 1
        found = {made.id: made for made in records.read_all(runs).records}
        lost += sum(cell.id not in found or found[cell.id].status != "ok" for cell in ready.cells)
        again += len(list(runs.glob("*/record-unreadable-*")))
        left += len(list(runs.glob("*/claim-*"))) + len(list(runs.glob("*/*.pt")))
        for name, made in found.items():
            numbers = [epoch.losses for epoch in made.epochs], [part.accuracy for part in made.strategies]
            if first.setdefault(name, numbers) != numbers:
                differing.add(name)
        shutil.rmtree(runs)
        print(f"{kills} kills in {rounds} rounds: {lost} lost, {left} left, {len(differing)} differing", flush=True)
    shutil.rmtree(place)
    counts = {
        "kills": kills, "rounds": rounds, "cells": rounds * 20, "workers": given.workers, "lost": lost,
        "unreadable": again, "claims or states left": left, "cells whose numbers differ between rounds": len(differing),
    }  # fmt: skip
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    return 1 if lost or again or left or differing else 0


def _round(runs: Path, count: int, most: int, pause: float, draw: random.Random) -> int:
    """Let workers run until all cells are recorded, killing one now and then; the number of kills."""
    kills = 0
    working = [_worker(runs) for _ in range(count)]
    due = time.monotonic() + draw.expovariate(1 / pause)
    while working:
        time.sleep(0.05)
        for each in [one for one in working if one.poll() is not None]:
            working.remove(each)
            each.communicate()
            if each.returncode not in (0, -signal.SIGKILL):
                raise RuntimeError(f"a worker ended with status {each.returncode}")
        if time.monotonic() > due and kills < most and working:
            victim = draw.choice(working)
            victim.kill()
            victim.communicate()
            working.remove(victim)
            working.append(_worker(runs))
            kills += 1
            due = time.monotonic() + draw.expovariate(1 / pause)
    return kills


def _worker(runs: Path) -> warm.Process:
    return warm.Process(["work", str(runs)], cwd=runs, env={**os.environ, "BENCH_TRIES": "1"})


if __name__ == "__main__":
    sys.exit(main())
