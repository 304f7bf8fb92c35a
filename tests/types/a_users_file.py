"""A user's file, which nothing runs: `nox -s types` checks that it passes mypy, and that what it gets has types."""

from collections.abc import Sequence
from types import ModuleType
from typing import assert_type

import pandas as pd

import asge
import baselines
import bench
from bench.plugins import FigureRuns, Learner, Method, Record, Task
from bench.testing import Result, check_method

RUNS = bench.run("smoke", methods=["asge"], seeds=3, out="runs")
assert_type(RUNS, bench.Runs)
assert_type(RUNS.records, Sequence[Record])
assert_type(bench.load("runs").frame(), pd.DataFrame)
assert_type(bench.check("smoke").ok, bool)
assert_type(check_method("asge"), list[Result])
assert_type(asge.ASGESettings().alpha, float)
assert_type(baselines, ModuleType)


def build(method: Method, task: Task, runs: FigureRuns) -> tuple[Learner | None, list[Record], list[Result]]:
    assert_type(method.strategies, tuple[str, ...])
    assert_type(task.shape, tuple[int, int, int])
    return None, [record for _, record in runs], check_method(task.name)
