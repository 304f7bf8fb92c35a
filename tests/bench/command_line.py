"""Helpers for tests of the real command line; the fixture `bench` runs it in a folder of its own."""

import json
import subprocess
import sys
from pathlib import Path

SUITE = """
tasks = ["digits"]
epochs = 3
batch_size = 64
loader = "memory"
[methods.asge]
plan = "8,M,16"
[methods.backprop]
plan = "8,M,16"
"""


RUN = ("run", "mine.toml", "--threads", "1", "--no-plots", "--format", "json")


def run_mine(bench, *arguments):
    return bench(*RUN, *arguments)


def start_mine(bench, *arguments, epoch=1):
    """A harness that runs the suite in the background, and its cell's process, once that has done an epoch."""
    harness = subprocess.Popen(
        [sys.executable, "-m", "bench", *RUN, *arguments],
        cwd=bench.folder, env=bench.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in harness.stderr:
        if f"epoch {epoch}/" in line:
            break
    [cell] = children(harness.pid)
    return harness, cell


def accuracies(done):
    return {(row["method"], row["strategy"]): row["accuracy"] for row in json.loads(done.stdout)}


def assert_one_sentence(done, *words):
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
