"""Types that a user sees: a file that imports the packages passes mypy --strict, and results are no Any."""

import re
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
MINE = """
import asge
import baselines
import bench
from bench.plugins import FigureRuns, Learner, Method, Record, Task
from bench.testing import Result, check_method

RUNS = bench.run("smoke", methods=["asge"], seeds=3, out="runs")
reveal_type(RUNS)
reveal_type(RUNS.records)
reveal_type(bench.load("runs").frame())
reveal_type(bench.check("smoke").ok)
reveal_type(check_method("asge"))
reveal_type(asge.ASGESettings().alpha)
reveal_type(baselines)


def build(method: Method, task: Task, runs: FigureRuns) -> tuple[Learner | None, list[Record], list[Result]]:
    reveal_type(method.strategies)
    reveal_type(task.shape)
    return None, [record for _, record in runs], check_method(task.name)
"""
REVEALED = [
    "bench.api.Runs",
    "typing.Sequence[bench.records.record.Record]",
    "pandas.core.frame.DataFrame",
    "bool",
    "list[bench.testing.outcome.Result]",
    "float",
    "types.ModuleType",
    "tuple[str, ...]",
    "tuple[int, int, int]",
]


def test_a_users_file_passes_mypy_and_has_types(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "--config-file=", str(file)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    plain = [
        re.sub(r"builtins\.|collections\.abc\.|\?", "", text.replace("typing.Sequence", "Sequence"))
        for text in revealed
    ]
    assert plain == [text.replace("typing.", "") for text in REVEALED]
