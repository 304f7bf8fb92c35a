"""Faults injected into the real command line: nothing is lost or half-read, and the table says what happened."""

import json
import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from command_line import RUN, accuracies, assert_one_sentence, run_mine, start_mine

from bench import registry

pytestmark = pytest.mark.timeout(300)
PLUGIN = """
import time
import torch
from types import SimpleNamespace
from asge.learner import ASGELearner, ASGE
from asge.settings import ASGESettings


class Hung(ASGELearner):
    def train_step(self, images, labels):
        time.sleep(1000)


class Greedy(ASGELearner):
    def train_step(self, images, labels):
        torch.empty(10**15)


class Poisoned(ASGELearner):
    def train_step(self, images, labels):
        return super().train_step(images * float("nan"), labels)


def method(learner):
    return SimpleNamespace(Settings=ASGESettings, strategies=ASGE.strategies, build=learner)


hung, greedy, poisoned = method(Hung), method(Greedy), method(Poisoned)
"""
ENTRY_POINTS = """
[bench.methods]
hung = faulty:hung
greedy = faulty:greedy
poisoned = faulty:poisoned
"""
SUITE_OF = """
tasks = ["digits"]
epochs = 3
batch_size = 64
loader = "memory"
"""
METHOD_OF = """
[methods.{}]
plan = "8,M,16"
"""


@pytest.fixture
def faulty(bench, monkeypatch):
    """Runs a suite of backprop and a plug-in's faulty methods; cells in this process, except those of `but`."""
    plugin = bench.folder / "plugin"
    (plugin / "faulty-1.dist-info").mkdir(parents=True)
    (plugin / "faulty-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1\n")
    (plugin / "faulty-1.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    (plugin / "faulty.py").write_text(PLUGIN)

    monkeypatch.syspath_prepend(plugin)
    monkeypatch.setenv("PYTHONPATH", str(plugin))  # for cells in processes of their own
    registry._entries.cache_clear()

    def run(methods, *options, but=()):
        (bench.folder / "faulty.toml").write_text(SUITE_OF + "".join(map(METHOD_OF.format, [*methods, "backprop"])))
        arguments = ["run", "faulty.toml", "--threads", "1", "--no-plots", "--no-report", "--format", "json", *options]
        done = bench.inside(*arguments, cells_too=True, but=but)
        return done, {row["method"]: row for row in json.loads(done.stdout)}

    yield run
    registry._entries.cache_clear()
    sys.modules.pop("faulty", None)


def test_cells_that_cannot_go_on_are_rows_and_the_others_run(faulty):
    done, rows = faulty(["greedy", "poisoned"])
    assert done.returncode == 3, done.stderr
    assert rows["greedy"]["status"] == "failed"
    assert "out of memory: " in rows["greedy"]["error"]
    assert rows["poisoned"]["status"] == "diverged"
    assert "loss 'layer1' is nan" in rows["poisoned"]["error"]
    assert rows["backprop"]["status"] == "ok"


@pytest.mark.slow
def test_a_cell_that_hangs_is_stopped_and_the_others_run(faulty, bench):
    done, rows = faulty(["hung"], "--stall", "12", but=("hung",))
    assert done.returncode == 3, done.stderr
    assert rows["backprop"]["status"] == "ok"
    table = bench.inside("table", "--format", "json")
    by_method = {row["method"]: row for row in json.loads(table.stdout)}
    assert by_method["hung"]["status"] == "timeout"
    assert "killed after 12 s without output" in by_method["hung"]["error"]


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on_when_there_is_room(bench):
    limited = 'ulimit -f 4; exec "$0" -m bench run mine.toml --methods asge --threads 1 --no-plots --format json'
    done = subprocess.run(
        ["bash", "-c", limited, sys.executable],
        cwd=bench.folder, env=bench.environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    [folder] = [path for path in (bench.folder / "results" / "runs").iterdir() if path.is_dir()]
    assert sorted(path.name for path in folder.iterdir()) == ["cell.json", "log.txt", "options.json"]
    table = json.loads(bench.inside("table", "--format", "json").stdout)
    assert {row["status"] for row in table} == {"interrupted"}
    assert run_mine(bench, "--methods", "asge", cells_too=True).returncode == 0


@pytest.mark.slow
def test_two_harnesses_on_one_folder_do_not_disturb_each_other(bench):
    first, cell = start_mine(bench, "--methods", "asge", "--epochs", "20")
    os.kill(cell, signal.SIGSTOP)  # so that it does not end before the others have looked
    [row, *_] = json.loads(bench.inside("table", "--format", "json").stdout)
    assert row["status"] == "running"
    threading.Timer(2, os.kill, (cell, signal.SIGCONT)).start()
    second = run_mine(bench, "--epochs", "20", "--methods", "asge", cells_too=True)
    assert second.returncode == 0, second.stderr
    assert f"waiting for asge on digits, seed 0, which process {first.pid} on " in second.stderr
    assert "(by another process)" in second.stderr
    out, _ = first.communicate(timeout=200)
    assert first.returncode == 0
    assert accuracies(second) == accuracies(SimpleNamespace(stdout=out))


@pytest.mark.slow
def test_a_killed_process_leaves_a_row_that_says_so(bench):
    harness, cell = start_mine(bench, "--methods", "asge", "--epochs", "100000")
    os.kill(cell, signal.SIGKILL)
    harness.communicate(timeout=60)
    assert harness.returncode == 3
    [row, *_] = json.loads(bench.inside("table", "--format", "json").stdout)
    assert row["status"] == "interrupted"
    assert "killed by signal 9" in row["error"]


def test_a_record_of_an_older_schema_or_cut_short_is_kept_aside_and_measured_again(bench):
    assert run_mine(bench, cells_too=True).returncode == 0
    paths = {json.loads(path.read_text())["cell"]["method"]: path
             for path in bench.folder.glob("results/runs/*/record.json")}  # fmt: skip
    old = json.dumps({**json.loads(paths["asge"].read_text()), "schema_version": 0})
    cut = paths["backprop"].read_text()[:200]
    paths["asge"].write_text(old)
    paths["backprop"].write_text(cut)

    table = bench.inside("table", "--format", "json")
    assert table.returncode == 0
    assert {row["status"] for row in json.loads(table.stdout)} == {"unreadable"}
    assert "its schema is 0, this version reads 1" in table.stderr
    assert bench.inside("check", "mine.toml").returncode == 4
    assert bench.inside("plot").returncode == 4

    again = run_mine(bench, cells_too=True)
    assert again.returncode == 0, again.stderr
    assert {row["status"] for row in json.loads(again.stdout)} == {"ok"}
    for method, text in (("asge", old), ("backprop", cut)):
        assert (paths[method].parent / "record-unreadable-1.json").read_text() == text


@pytest.mark.slow
def test_a_clock_that_runs_backwards_changes_no_duration(bench):
    (bench.folder / "clock").mkdir()
    (bench.folder / "clock" / "sitecustomize.py").write_text(
        "import itertools, time\nticks = itertools.count()\ntime.time = lambda: 2e9 - 3600 * next(ticks)\n"
    )
    done = bench(*RUN, "--methods", "asge", PYTHONPATH=str(bench.folder / "clock"))
    assert done.returncode == 0, done.stderr
    for row in json.loads(done.stdout):
        assert row["train_seconds"] > 0
        assert row["train_images_per_second"] > 0
    assert accuracies(done) == accuracies(run_mine(bench, "--methods", "asge", "--force", cells_too=True))


def test_a_folder_that_is_not_ours_to_write_is_named(bench):
    (bench.folder / "blocked").write_text("a file, not a folder")
    assert_one_sentence(run_mine(bench, "--out", "blocked/runs"), "blocked/runs", "cannot be written")
