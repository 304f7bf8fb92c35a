"""The example of a task, installed as a package of somebody else's, passes the contract and can be trained on."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import warm

from bench.plugins import Task
from bench.testing import TASK_CHECKS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "add-a-task.md").read_text(encoding="utf-8")
EXAMPLES = ROOT / "docs" / "examples"
SUITE = """
tasks = ["rotated-digits"]
epochs = 3
batch_size = 32
loader = "memory"
threads = 1
[methods.backprop]
plan = "tiny"
"""


def block(language):
    [found] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run a module where the example is installed."""
    site = tmp_path_factory.mktemp("site")
    project = tomllib.loads(block("toml"))["project"]
    [(name, value)] = project["entry-points"]["bench.tasks"].items()
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (info / "entry_points.txt").write_text(f"[bench.tasks]\n{name} = {value}\n")
    path = os.pathsep.join(map(str, (site, EXAMPLES, ROOT)))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "BENCH_TRIES": "1"}

    def module(name, *arguments):
        if name == "bench":
            return warm.run(arguments, cwd=ROOT, env=environment)
        return subprocess.run(
            [sys.executable, "-P", "-m", name, *arguments],
            check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110,
        )  # fmt: skip

    return module


def test_the_page_shows_the_example():
    assert block("python") == (EXAMPLES / "rotated_digits.py").read_text(encoding="utf-8")


def test_the_page_describes_every_attribute():
    first = "".join(re.findall(r"^\|([^|]*)\|", PAGE, flags=re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", first)) - {"Task"} == {field.name for field in dataclasses.fields(Task)}


@pytest.mark.slow
def test_it_passes_the_contract(run):
    done = run("pytest", "-q", "-p", "no:cacheprovider", "tests/contract/test_tasks.py", "-k", "rotated-digits")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(TASK_CHECKS)} passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.slow
def test_a_suite_trains_on_it(run, tmp_path):
    (tmp_path / "mine.toml").write_text(SUITE)
    done = run("bench", "run", str(tmp_path / "mine.toml"), "--no-plots", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    [record] = tmp_path.glob("rotated-digits-backprop-seed0-*/record.json")
    found = json.loads(record.read_text())
    assert found["status"] == "ok"
    [strategy] = found["strategies"]
    assert strategy["accuracy"] > 40, "chance is 25 %"
