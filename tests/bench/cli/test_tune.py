"""`bench tune` through the command line, in this process; one test trains."""

import json

import pytest
from command_line import run_cells_here

from bench import suites
from bench.cli import app as cli

SMALL = ["asge", "digits", "--set", "asge.plan=tiny", "--trials", "2", "--epochs", "1", "--train-samples", "100"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.timeout(300)
def test_a_study_its_export_and_the_suite_that_comes_of_it(here, capsys, monkeypatch):
    run_cells_here(monkeypatch)
    assert cli.main(["tune", *SMALL, "--promising", "0"]) == 0
    out = capsys.readouterr()
    assert "trial 1:" in out.err
    assert "2 complete" in out.err
    assert (here / "results/tuning/asge-digits/figures/asge-digits-history.png").stat().st_size > 10_000

    assert cli.main(["tune", *SMALL, "--promising", "0", "--no-plots"]) == 0  # nothing left to do
    assert "trial 2:" not in capsys.readouterr().err

    assert cli.main(["tune", "export", "asge-digits", "--to", "tuned.toml"]) == 0
    suite = suites.load("tuned.toml")
    assert suite.methods["asge"]["plan"] == "tiny"
    assert (suite.tasks, suite.epochs, suite.train_samples) == (("digits",), 1, 100)
    assert suite.tuning["asge"].trials == 2
    assert suites.cells(suite, suites.Overrides(threads=1))[0].tuning.study == "asge-digits"


def test_the_search_space_is_shown(capsys):
    assert cli.main(["tune", "asge", "--show-space", "--space", "asge.alpha=0|1", "--format", "json"]) == 0
    shown = {row["setting"]: row["values"] for row in json.loads(capsys.readouterr().out)}
    assert shown["alpha"] == "0|1"
    assert shown["learning_rate"] == "0.0001..0.1:log"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["asge"], "bench tune needs a method and a task"),
        (["agse", "digits"], "did you mean 'asge'"),
        (["asge", "digts"], "did you mean 'digits'"),
        (["asge", "digits", "--space", "asge.alhpa=0..1"], "did you mean 'alpha'"),
        (["asge", "digits", "--space", "asge.scale=3..1"], "got 3..1"),
        (["asge", "digits", "--set", "ff.threshold=2"], "--set names method 'ff', but 'asge' is tuned"),
        (["asge", "digits", "--sampler", "tpa"], "did you mean 'tpe'"),
        (["asge", "digits", "--pruner", "mdian"], "did you mean 'median'"),
        (["asge", "digits", "--objective", "speed"], "objective"),
        (["asge", "digits", "--preset", "gpu"], "preset"),
        (["asge", "digits", "--trials", "0"], "--trials must be from 1"),
        (["asge", "digits", "--augmentation", "flop"], "did you mean 'flip'"),
        (["asge", "digits", "--storage", "postgresql://127.0.0.1:9/none"], "does not answer"),
        (["export", "none"], "study"),
        (["export", "none", "--to", "suite.json"], "is not the name of a TOML file"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(here, arguments, words, capsys):
    assert cli.main(["tune", *arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert words in said
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    assert not list(here.rglob("*.toml"))


def test_a_study_of_another_method_is_refused(here, monkeypatch, capsys):
    from bench.tuning import tuner

    monkeypatch.setattr(tuner, "run", lambda *_: None)
    assert cli.main(["tune", "asge", "digits", "--study", "mine", "--no-plots"]) == 4  # nothing was measured
    capsys.readouterr()
    assert cli.main(["tune", "ff", "digits", "--study", "mine", "--no-plots"]) == 2
    assert "study 'mine' has method 'asge', not 'ff'" in capsys.readouterr().err
