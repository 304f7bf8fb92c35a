import json

import pytest
import torch
from command_line import assert_one_sentence
from factories import cell, record

from bench import records
from bench.measure import environment
from bench.options import RunOptions
from bench.records import claims
from bench.running import local


@pytest.fixture
def out(tmp_path):
    """A folder with a cell in every state, by its seed."""
    for seed, status in [(1, "ok"), (2, "diverged"), (3, "failed"), (4, "interrupted")]:
        (tmp_path / cell(seed=seed).id).mkdir()
        records.write(tmp_path / cell(seed=seed).id / records.RECORD_FILE, record(seed=seed, status=status))
    for seed in (5, 6):
        (tmp_path / cell(seed=seed).id).mkdir()
        records.write(tmp_path / cell(seed=seed).id / records.CELL_FILE, cell(seed=seed))
    for seed in (4, 5):
        (tmp_path / cell(seed=seed).id / records.STATE_FILE).touch()
    (tmp_path / cell(seed=7).id).mkdir()
    (tmp_path / cell(seed=7).id / records.RECORD_FILE).write_text("{")
    return tmp_path


def plan(out, *, any_code=True, **options):
    options["any_code"] = any_code
    return [does for _, does in local.plan([cell(seed=seed) for seed in range(8)], RunOptions(out=out, **options))]


def test_what_would_be_done_with_every_cell(out):
    assert plan(out) == ["to run", "recorded", "recorded", "to run", "resumes", "resumes", "to run", "to run"]
    assert plan(out, force=True) == ["to run"] * 8


def test_what_other_code_has_made_runs_again(out):
    again = ["to run", "to run again", "to run again", "to run", "resumes", "resumes", "to run", "to run"]
    assert plan(out, any_code=False) == again
    here = environment.code(cell(seed=1))
    made = record(seed=1).model_copy(update={"code": here})
    made = made.model_copy(update={"environment": made.environment.model_copy(update={"torch": torch.__version__})})
    records.write(out / cell(seed=1).id / records.RECORD_FILE, made)
    assert plan(out, any_code=False) == [*again[:1], "recorded", *again[2:]]


def test_a_record_without_what_was_learned_is_not_enough_where_that_is_to_be_kept(out):
    assert plan(out, keep=True)[1:3] == ["to run", "recorded"]
    (out / cell(seed=1).id / records.LEARNED_FILE).touch()
    assert plan(out, keep=True)[1:3] == ["recorded", "recorded"]


def test_a_second_training_for_the_sake_of_what_is_learned_goes_on_too(out):
    (out / cell(seed=1).id / records.STATE_FILE).touch()
    assert plan(out)[1] == "recorded"
    assert plan(out, keep=True)[1] == "resumes"


def test_a_cell_that_another_process_runs_is_said_to_be_running(out):
    for seed in (0, 1):
        (out / cell(seed=seed).id).mkdir(exist_ok=True)
        assert claims.take(out / cell(seed=seed).id) is not None
    assert plan(out)[:2] == ["running", "recorded"]  # the second is measured again


def test_a_dry_run_says_what_would_run_and_writes_nothing(bench):
    done = bench.inside("run", "mine.toml", "--threads", "1", "--dry-run", "--format", "json", "--out", "runs")
    assert done.returncode == 0, done.stderr
    lines = json.loads(done.stdout)
    assert [(line["cell"], line["now"]) for line in lines] == [
        ("asge on digits, seed 0", "to run"),
        ("backprop on digits, seed 0", "to run"),
    ]
    assert [line["threads"] for line in lines] == [1, 1]
    assert not (bench.folder / "runs").exists()


def test_a_dry_run_needs_no_data_and_counts_what_stays(bench):
    arguments = ("run", "mine.toml", "--tasks", "mnist", "--threads", "1", "--dry-run", "--data-dir", "nowhere")
    done = bench.inside(*arguments)
    assert done.returncode == 0, done.stderr
    assert "mine: 0 of 2 cells are finished in results/runs" in done.stdout
    assert "asge on mnist, seed 0" in done.stdout


def test_a_dry_run_refuses_what_a_run_refuses_before_it_looks_for_data(bench):
    done = bench.inside("run", "mine.toml", "--threads", "9999", "--dry-run")
    assert_one_sentence(done, "--threads 9999 is not valid on this machine")
