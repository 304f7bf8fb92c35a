"""The real command line, in processes of its own: what a user types, reads and gets as exit status."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import cli

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


@pytest.fixture
def bench(tmp_path):
    (tmp_path / "mine.toml").write_text(SUITE)
    environment = {
        **os.environ,
        "BENCH_CACHE": str(tmp_path / "cache"),
        "BENCH_REFERENCE": str(tmp_path / "reference"),
        "COLUMNS": "200",
    }
    environment.pop("BENCH_DATA", None)

    def run(*arguments, **changes):
        command = [sys.executable, "-m", "bench", *arguments]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env={**environment, **changes},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    run.folder = tmp_path
    run.environment = environment
    return run


def run_mine(bench, *arguments):
    return bench("run", "mine.toml", "--threads", "1", "--no-plots", "--format", "json", *arguments)


def accuracies(done):
    return {(row["method"], row["strategy"]): row["accuracy"] for row in json.loads(done.stdout)}


def assert_one_sentence(done, *words):
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr


@pytest.mark.timeout(300)
def test_a_run_its_table_its_figures_its_references_and_its_check(bench):
    first = bench("run", "mine.toml", "--threads", "1", "--format", "json")
    assert first.returncode == 0, first.stderr
    rows = json.loads(first.stdout)
    assert [(r["method"], r["strategy"]) for r in rows] == [
        ("asge", "last"), ("asge", "fusion"), ("asge", "best"), ("backprop", "logits"),
    ]  # fmt: skip
    may_be_null = {"published", "gap", "energy_joules"}
    assert {key for row in rows for key, value in row.items() if value is None} <= may_be_null
    assert len(list(bench.folder.glob("results/runs/figures/mine/*.png"))) == 3

    again = run_mine(bench)
    assert "finished before" in again.stderr
    assert accuracies(again) == accuracies(first)

    assert bench("check", "mine.toml").returncode == 4  # nothing to compare with
    assert run_mine(bench, "--seeds", "3").returncode == 0
    assert_one_sentence(bench("reference", "update", "mine.toml"), "--reason")
    updated = bench("reference", "update", "mine.toml", "--reason", "first values")
    assert updated.returncode == 0, updated.stderr
    shown = bench("reference", "show", "mine")
    assert shown.returncode == 0
    assert "first values" in shown.stderr
    assert bench("check", "mine.toml").returncode == 0
    assert '"verdict": "ok"' in run_mine(bench).stdout

    stored = bench.folder / "reference" / "measured" / "mine.json"
    content = json.loads(stored.read_text())
    for row in content["rows"]:
        for value in row["values"]:
            value["accuracy"] = 99.9
    stored.write_text(json.dumps(content))
    red = bench("check", "mine.toml", "--format", "json")
    assert red.returncode == 1
    assert {row["verdict"] for row in json.loads(red.stdout)} == {"regression"}

    plotted = bench("plot", "results/runs", "--out", "drawn")
    assert plotted.returncode == 0
    assert len(plotted.stdout.splitlines()) == 3


@pytest.mark.timeout(300)
def test_a_killed_cell_goes_on_and_ends_with_the_same_numbers(bench):
    undisturbed = run_mine(bench, "--epochs", "40", "--out", "undisturbed")
    assert undisturbed.returncode == 0, undisturbed.stderr

    command = [sys.executable, "-m", "bench", "run", "mine.toml", "--threads", "1", "--epochs", "40", "--out", "killed",
               "--no-plots", "--methods", "asge"]  # fmt: skip
    harness = subprocess.Popen(
        command, cwd=bench.folder, env=bench.environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    for line in harness.stderr:
        if "epoch 2/" in line:
            break
    [cell] = children(harness.pid)
    os.kill(cell, signal.SIGKILL)
    rest = harness.stderr.read()
    harness.stderr.close()
    assert harness.wait(60) == 3
    assert "killed by signal 9" in rest

    interrupted = bench("table", "killed", "--format", "json")
    assert {row["status"] for row in json.loads(interrupted.stdout)} == {"interrupted"}
    continued = run_mine(bench, "--epochs", "40", "--out", "killed")
    assert continued.returncode == 0, continued.stderr
    assert "epoch 1/40" not in continued.stderr.split("backprop")[0]
    assert accuracies(continued) == accuracies(undisturbed)


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_cell_ends_when_its_harness_is_killed(bench):
    command = [
        sys.executable,
        "-m",
        "bench",
        "run",
        "mine.toml",
        "--epochs",
        "100000",
        "--no-plots",
        "--methods",
        "asge",
    ]
    harness = subprocess.Popen(
        command, cwd=bench.folder, env=bench.environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    for line in harness.stderr:
        if "epoch 1/" in line:
            break
    [cell] = children(harness.pid)
    harness.kill()
    harness.wait(10)
    harness.stderr.close()
    for _ in range(100):
        try:
            if "(zombie)" in Path(f"/proc/{cell}/status").read_text():
                return
        except OSError:
            return
        time.sleep(0.1)
    os.kill(cell, signal.SIGKILL)
    pytest.fail("the cell's process outlived its harness")


def test_a_cell_that_diverges_is_a_row_and_the_others_run(bench):
    done = run_mine(bench, "--set", "asge.learning_rate=1e6")
    assert done.returncode == 3, done.stderr
    rows = {(row["method"], row["strategy"]): row for row in json.loads(done.stdout)}
    assert {rows["asge", s]["status"] for s in ("last", "fusion", "best")} == {"diverged"}
    assert rows["backprop", "logits"]["status"] == "ok"
    assert "loss" in rows["asge", "last"]["error"]
    assert "finished before" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "smok"], ["unknown suite 'smok'", "did you mean 'smoke'"]),
        (["run", "mine.toml", "--methods", "agse"], ["'agse'", "did you mean 'asge'"]),
        (["run", "mine.toml", "--tasks", "digit"], ["'digit'", "did you mean 'digits'"]),
        (["run", "mine.toml", "--set", "asge.alhpa=1"], ["'alhpa'", "did you mean 'alpha'"]),
        (["run", "mine.toml", "--set", "asge.alpha=-1"], ["asge.alpha = -1"]),
        (["run", "mine.toml", "--set", "asge.plan=8,M,M,M,M,8"], ["asge", "digits", "to nothing"]),
        (["run", "mine.toml", "--set", "asge.alpha=1e6"], ["asge cannot be built for digits"]),
        (["run", "mine.toml", "--set", "asge.learning_rate=Infinity"], ["asge.learning_rate = inf", "finite"]),
        (["run", "mine.toml", "--methods", ""], ["--methods names nothing"]),
        (["run", "mine.toml", "--threads", "99999"], ["--threads 99999"]),
        (["run", "a" * 300], ["unknown suite"]),
        (["run", "mine.toml", "--epochs", "0"], ["--epochs", "from 1 to"]),
        (["run", "mine.toml", "--epochs", "many"], ["--epochs", "valid integer"]),
        (["run", "mine.toml", "--loader", "disk"], ["unknown loader 'disk'", "memory"]),
        (["run", "mine.toml", "--device", "tpu9"], ["--device 'tpu9'", "cpu"]),
        (["run", "mine.toml", "--sed", "3"], ["--sed"]),
        (["run", "mine.toml", "--suite", "smoke"], ["two suites"]),
        (
            ["run", "mine.toml", "--tasks", "mnist", "--data-dir", "empty"],
            ["empty", "MNIST/raw/train-images-idx3-ubyte"],
        ),
        (["check", "smok"], ["unknown suite"]),
        (["table", "nowhere"], ["nowhere"]),
        (["data", "verify", "mnits"], ["unknown task 'mnits'", "did you mean 'mnist'"]),
        (["frobnicate"], ["frobnicate"]),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(bench, arguments, words, monkeypatch, capsys):
    monkeypatch.chdir(bench.folder)
    monkeypatch.setenv("BENCH_CACHE", str(bench.folder / "cache"))
    status = cli.main(arguments)
    said = capsys.readouterr()
    assert_one_sentence(SimpleNamespace(returncode=status, stdout=said.out, stderr=said.err), *words)
    assert sorted(path.name for path in bench.folder.iterdir() if path.name != "cache") == ["mine.toml"]


def test_a_truncated_data_file_is_named_before_anything_runs(bench):
    raw = bench.folder / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ):
        (raw / name).write_bytes(b"\x00\x00\x08\x03" + bytes(100))
    done = run_mine(bench, "--tasks", "mnist", "--data-dir", "data")
    assert_one_sentence(done, "train-images-idx3-ubyte", "truncated: 104 bytes of 47040016")
    assert not (bench.folder / "results").exists()
    verified = bench("data", "verify", "mnist", "--data-dir", "data")
    assert verified.returncode == 2
    assert "truncated" in verified.stderr


def test_a_folder_that_cannot_be_written(bench):
    (bench.folder / "blocked").write_text("a file, not a folder")
    assert_one_sentence(run_mine(bench, "--out", "blocked/runs"), "blocked/runs", "cannot be written")


def test_a_record_edited_into_nonsense_is_named(bench):
    assert run_mine(bench, "--methods", "backprop").returncode == 0
    [path] = bench.folder.glob("results/runs/*/record.json")
    path.write_text(path.read_text()[:200])
    for arguments in (["table"], ["run", "mine.toml", "--threads", "1"], ["check", "mine.toml"], ["plot"]):
        assert_one_sentence(bench(*arguments), "record.json", "delete it")


def test_nothing_measured_is_a_status_of_its_own(bench):
    (bench.folder / "runs").mkdir()
    for arguments in (["table", "runs"], ["plot", "runs", "--out", "drawn"], ["check", "mine.toml", "--runs", "runs"]):
        done = bench(*arguments)
        assert done.returncode == 4, arguments
        assert done.stderr.startswith("error: ")


def test_what_there_is(bench):
    listed = bench("list", "--format", "json")
    kinds = {(row["kind"], row["name"]) for row in json.loads(listed.stdout)}
    assert {("method", "asge"), ("task", "digits"), ("suite", "quick"), ("loader", "ffcv")} <= kinds
    assert bench("data", "verify", "digits").returncode == 0
    assert "bundled" in bench("data", "list").stdout
    doctor = bench("doctor", "--format", "csv")
    assert doctor.returncode == 0
    assert "torch" in doctor.stdout
