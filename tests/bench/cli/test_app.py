"""The real command line: input, output and exit status; in separate processes where it matters."""

import json
import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest
from command_line import accuracies, assert_one_sentence, command_line, run_mine, start_mine
from factories import record

from bench import records
from bench.cli import app as cli
from bench.report.figures import FIGURES

ELSEWHERE = {
    "layer-values",
    "accuracy-against-work",
    "time-against-work",
    "execution-by-layer",
    "work-by-image",
    "gates",
    "error-by-length",
}
"""Figures of gated networks, and of trainings of several lengths."""


pytestmark = pytest.mark.timeout(300)
KEEP_REFERENCE = ("reference", "update", "mine.toml", "--keep", "--reason", "the same")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A command line in a folder where the suite has run, and that run's output."""
    bench = command_line(tmp_path_factory.mktemp("ran"))
    bench.first = bench.inside("run", "mine.toml", "--threads", "1", "--format", "json", cells_too=True)
    assert bench.first.returncode == 0, bench.first.stderr
    return bench


@pytest.fixture(scope="module")
def referenced(ran):
    """The same with two more seeds, and references made from all three."""
    assert bench_check(ran).returncode == 4  # nothing to compare with
    for seed in ("1", "2"):
        assert run_mine(ran, "--seeds", "1", "--first-seed", seed, cells_too=True).returncode == 0
    assert_one_sentence(ran.inside("reference", "update", "mine.toml"), "--reason")
    updated = ran.inside("reference", "update", "mine.toml", "--reason", "first values")
    assert updated.returncode == 0, updated.stderr
    return ran


def bench_check(bench, *arguments):
    return bench.inside("check", "mine.toml", *arguments, cells_too=True)


@contextmanager
def changed_reference(bench):
    """The stored reference, for tests that change it; restored afterwards."""
    stored = bench.folder / "reference" / "measured" / "mine.json"
    kept = stored.read_text()
    content = json.loads(kept)
    try:
        yield content, lambda: stored.write_text(json.dumps(content))
    finally:
        stored.write_text(kept)


def test_a_run_leaves_its_table_and_figures(ran):
    rows = json.loads(ran.first.stdout)
    assert [(r["method"], r["strategy"]) for r in rows] == [
        ("asge", "last"), ("asge", "fusion"), ("asge", "best"), ("backprop", "logits"),
    ]  # fmt: skip
    may_be_null = {"published", "gap", "energy_joules", "executed_macs", "top5"}
    assert {key for row in rows for key, value in row.items() if value is None} <= may_be_null
    drawn = {path.stem for path in ran.folder.glob("results/runs/figures/mine/*.png")}
    assert drawn == {f"digits-{name}" for name in FIGURES if name not in ELSEWHERE}


def test_a_run_leaves_a_page_with_its_figures_and_says_where(ran):
    page = ran.folder / "results" / "runs" / "report-mine.html"
    assert f"report: {page.relative_to(ran.folder)}" in ran.first.stderr
    text = page.read_text(encoding="utf-8")
    assert text.count("<figure>") == len(FIGURES) - len(ELSEWHERE)
    assert "arXiv 2509.12394" in text  # of ASGE's sentence


def test_a_page_is_made_again(ran):
    made = ran.inside("report", "results/runs", "--out", "again.html")
    assert made.stdout == "again.html\n"
    assert "Against the stored references" not in (ran.folder / "again.html").read_text(encoding="utf-8")


def test_what_is_finished_is_not_run_again(ran):
    again = run_mine(ran)
    assert "finished before" in again.stderr
    assert accuracies(again) == accuracies(ran.first)


def test_figures_are_drawn_again(ran):
    plotted = ran.inside("plot", "results/runs", "--out", "drawn")
    assert plotted.returncode == 0
    assert len(plotted.stdout.splitlines()) == len(FIGURES) - len(ELSEWHERE)


def test_a_run_is_identical_with_itself(ran):
    compared = ran.inside("compare", "results/runs", "results/runs", "--format", "json")
    assert compared.returncode == 0
    assert {row["verdict"] for row in json.loads(compared.stdout)} == {"identical"}


def test_references_show_and_judge(referenced):
    shown = referenced.inside("reference", "show", "mine")
    assert shown.returncode == 0
    assert "first values" in shown.stderr
    assert '"verdict": "ok"' in run_mine(referenced).stdout


def test_a_healthy_check_is_green(referenced):
    green = bench_check(referenced, "--junit", "out/junit.xml", "--format", "json")
    assert green.returncode == 0, green.stdout
    assert {(row["what"], row["verdict"]) for row in json.loads(green.stdout)} == {
        ("golden", "ok"), ("accuracy", "ok"), ("memory", "ok"),
    }  # fmt: skip
    suite = ET.parse(referenced.folder / "out" / "junit.xml").getroot().find("testsuite")  # noqa: S314 -- made here
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("8", "0", "0")
    assert referenced.inside("golden", "mine.toml", "--threads", "1").returncode == 0
    assert referenced.inside(*KEEP_REFERENCE).returncode == 0


def test_a_reference_is_repeated_by_another_rounding_only(referenced):
    refused = referenced.inside("reference", "repeat", "mine.toml", "--reason", "the same machine")
    assert_one_sentence(refused, "no record of mine repeats a stored seed under another rounding")
    with changed_reference(referenced) as (content, write):
        for golden in content["goldens"]:
            golden["machine"]["cpu"] = "another"
        for row in content["rows"]:
            for value in row["values"]:
                value["accuracy"] -= 0.2
        write()
        added = referenced.inside("reference", "repeat", "mine.toml", "--reason", "this processor")
    assert added.returncode == 0, added.stderr
    assert "asge: 3 repeated seeds" in added.stdout


def test_first_steps_that_differ_are_red(referenced):
    with changed_reference(referenced) as (content, write):
        content["goldens"][0]["losses"]["layer1"][3] += 1e-9
        write()
        moved = referenced.inside("golden", "mine.toml", "--threads", "1", "--format", "json")
        assert moved.returncode == 1
        assert [row["verdict"] for row in json.loads(moved.stdout)] == ["losses differ", "ok"]
        refused = referenced.inside(*KEEP_REFERENCE)
        assert_one_sentence(refused, "asge does not reproduce its reference", "loss layer1 at step 4")


def test_an_accuracy_that_is_too_low_is_red(referenced):
    with changed_reference(referenced) as (content, write):
        for row in content["rows"]:
            for value in row["values"]:
                value["accuracy"] = 99.9
        for golden in content["goldens"]:
            golden["machine"]["cpu"] = "another"
            golden["accuracies"] = dict.fromkeys(golden["accuracies"], 99.9)
        write()
        red = bench_check(referenced, "--format", "json")
    assert red.returncode == 1
    notes = {row["note"] for row in json.loads(red.stdout) if row["verdict"] == "regression"}
    assert notes
    assert all("seeds 1, 2, run again, confirm it" in note for note in notes)


@pytest.mark.slow
def test_a_killed_cell_goes_on_and_ends_with_the_same_numbers(bench):
    asge = ("--methods", "asge", "--epochs", "40", "--out")
    undisturbed = run_mine(bench, *asge, "undisturbed", cells_too=True)
    assert undisturbed.returncode == 0, undisturbed.stderr

    harness, cell = start_mine(bench, *asge, "killed", epoch=2)
    os.kill(cell, signal.SIGKILL)
    _, rest = harness.communicate(timeout=60)
    assert harness.returncode == 3
    assert "killed by signal 9" in rest

    interrupted = bench.inside("table", "killed", "--format", "json")
    assert {row["status"] for row in json.loads(interrupted.stdout)} == {"interrupted"}
    continued = run_mine(bench, *asge, "killed")
    assert continued.returncode == 0, continued.stderr
    assert "epoch 40/40" in continued.stderr
    assert "epoch 1/40" not in continued.stderr
    assert accuracies(continued) == accuracies(undisturbed)


@pytest.mark.slow
def test_a_cell_ends_when_its_harness_is_killed(bench):
    harness, cell = start_mine(bench, "--methods", "asge", "--epochs", "100000")
    harness.kill()
    harness.communicate(timeout=10)
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
    done = run_mine(bench, "--set", "asge.learning_rate=1e6", cells_too=True)
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
    verified = bench.inside("data", "verify", "mnist", "--data-dir", "data")
    assert verified.returncode == 2
    assert "truncated" in verified.stderr


def test_nothing_measured_is_a_status_of_its_own(bench):
    (bench.folder / "runs").mkdir()
    for arguments in (["table", "runs"], ["plot", "runs", "--out", "drawn"], ["check", "mine.toml", "--runs", "runs"]):
        done = bench.inside(*arguments)
        assert done.returncode == 4, arguments
        assert done.stderr.startswith("error: ")


def test_what_there_is(bench):
    listed = bench.inside("list", "--format", "json")
    kinds = {(row["kind"], row["name"]) for row in json.loads(listed.stdout)}
    assert {("method", "asge"), ("task", "digits"), ("suite", "quick"), ("loader", "ffcv")} <= kinds
    assert bench.inside("data", "verify", "digits").returncode == 0
    assert "bundled" in bench.inside("data", "list").stdout
    doctor = bench.inside("doctor", "--format", "csv")
    assert doctor.returncode == 0
    assert "torch" in doctor.stdout


def test_older_records_are_described_by_a_command(bench):
    made = record()
    older = made.model_copy(update={"cell": made.cell.model_copy(update={"described": None})})
    folder = bench.folder / "runs" / made.id
    folder.mkdir(parents=True)
    records.write(folder / records.RECORD_FILE, older)
    assert "`bench describe FOLDER`" in bench.inside("table", "runs").stderr
    done = bench.inside("describe", "runs")
    assert (done.returncode, done.stdout) == (0, "runs: 1 of 1 records described now\n")
    assert records.read(folder / records.RECORD_FILE) == made
    assert bench.inside("table", "runs").stderr == ""
    assert bench.inside("describe", "nowhere").returncode == 2
