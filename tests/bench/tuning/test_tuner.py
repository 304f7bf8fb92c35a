"""Studies without training: results of cells are made up from their settings."""

import os
import subprocess
import sys
import threading
from dataclasses import replace

import made_up
import optuna
import pytest
from factories import record

from asge.common.marks import Choice, Range
from bench.errors import UserError
from bench.running.local import Outcome
from bench.tuning import export, tuner
from bench.tuning import study as studies

SPACE = {"alpha": Range(0, 2, step=0.25), "reduction": Choice(("mean", "sum"))}
PLAN = tuner.Plan(
    method="asge", task="digits", base={"plan": "tiny"}, space=SPACE, trials=6, epochs=2, promising=2, seeds=3
)


@pytest.fixture(autouse=True)
def cells(monkeypatch):
    """The requested cells, in order."""
    seen = []

    def run_cells(cells, options, *, watcher, **_):
        [cell] = cells
        seen.append(cell)
        return [made_up.outcome(cell, watcher)]

    monkeypatch.setattr(tuner.local, "run_cells", run_cells)
    monkeypatch.setattr(tuner.rehearsal, "rehearse", lambda cells, data_dir: None)
    return seen


def start(tmp_path, plan=PLAN, *, name="study", pruner="none"):
    kept, lock = studies.storage(str(tmp_path / "studies.journal"))
    study = studies.opened(name, kept, lock, plan.identity(), studies.pruner(pruner, plan.epochs), plan.first())
    tuner.run(plan, study, lock, tmp_path / "runs", None, say=lambda text: None)
    return study


def drawn(study):
    return [trial.user_attrs.get("settings") for trial in study.trials]


def test_the_same_seed_gives_the_same_trials_and_another_other_ones(tmp_path):
    first, again = start(tmp_path / "a"), start(tmp_path / "b")
    other = start(tmp_path / "c", replace(PLAN, seed=1))
    assert len(drawn(first)) == 6
    assert drawn(first) == drawn(again) != drawn(other)


def test_trials_side_by_side_are_as_many_and_come_from_one_study(tmp_path, cells, monkeypatch):
    together = threading.Barrier(2, timeout=20)
    alone = tuner.local.run_cells

    def run_cells(wanted, options, **others):
        if wanted[0].seed == 0:  # the confirmation comes afterwards, one by one
            together.wait()
        return alone(wanted, options, **others)

    monkeypatch.setattr(tuner.local, "run_cells", run_cells)
    study = start(tmp_path, replace(PLAN, workers=2))
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 6
    assert sum(cell.seed == 0 for cell in cells) == 6


def test_an_error_in_one_of_several_trials_ends_them_all(tmp_path, monkeypatch):
    def run_cells(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(tuner.local, "run_cells", run_cells)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, replace(PLAN, workers=2))


def test_the_first_trial_is_what_the_method_has_without_tuning(tmp_path):
    assert drawn(start(tmp_path))[0] == {"alpha": 1.0, "reduction": "mean"}
    narrow = replace(PLAN, space={**SPACE, "reduction": Choice(("sum",))}, base={"plan": "tiny", "alpha": 0.5})
    assert drawn(start(tmp_path, narrow, name="narrow"))[0] == {"alpha": 0.5, "reduction": "sum"}


def test_a_study_that_was_stopped_goes_on_to_the_same_trials(tmp_path):
    straight = start(tmp_path / "a")
    start(tmp_path / "b", replace(PLAN, trials=2))
    assert drawn(start(tmp_path / "b")) == drawn(straight)
    assert len(start(tmp_path / "b").trials) == 6


def test_the_best_is_best_by_its_mean_over_seeds(tmp_path, cells):
    study = start(tmp_path)
    best = tuner.best(study)
    highest = max(study.trials, key=lambda trial: trial.value)
    assert best.user_attrs["settings"] == highest.user_attrs["settings"]
    assert tuner.by_seed(study, best) == pytest.approx(
        {0: highest.value, 1: highest.value - 0.1, 2: highest.value - 0.2}
    )
    assert [cell.seed for cell in cells] == [0] * 6 + [1, 2, 1, 2]
    assert all(cell.settings["plan"] == "tiny" for cell in cells)


def test_trials_that_do_not_get_on_are_pruned_and_count(tmp_path, monkeypatch):
    monkeypatch.setattr(optuna.Trial, "should_prune", lambda trial: trial.number % 2 == 1)
    study = start(tmp_path, pruner="median")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"] * 3
    assert study.trials[1].intermediate_values == {1: pytest.approx(study.trials[1].intermediate_values[1])}


def test_a_trial_that_diverges_is_a_failed_one_with_its_reason(tmp_path, monkeypatch):
    def run_cells(cells, options, **_):
        return [Outcome(cells[0], record(status="diverged"), reused=False, problem="loss 'last' is nan")]

    monkeypatch.setattr(tuner.local, "run_cells", run_cells)
    study = start(tmp_path)
    assert {tuner.how_it_ended(trial) for trial in study.trials} == {"failed"}
    assert {trial.user_attrs["reason"] for trial in study.trials} == {"loss 'last' is nan"}
    assert len(study.trials) == 6
    with pytest.raises(UserError, match="has no successful trial"):
        tuner.best(study)


def test_the_sampler_keeps_away_from_where_trials_diverge(tmp_path, monkeypatch):
    def run_cells(cells, options, *, watcher, **_):
        [cell] = cells
        if cell.settings["reduction"] == "sum" and cell.settings["alpha"] > 0:
            return [Outcome(cell, record(status="diverged"), reused=False, problem="loss 'last' is nan")]
        return [made_up.outcome(cell, watcher)]

    monkeypatch.setattr(tuner.local, "run_cells", run_cells)
    ended = [tuner.how_it_ended(trial) for trial in start(tmp_path, replace(PLAN, trials=40)).trials]
    assert ended.count("failed") > 0
    assert ended[20:].count("failed") <= 4


def test_two_objectives_give_a_front(tmp_path):
    study = start(tmp_path, replace(PLAN, objectives=("accuracy", "memory")))
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.trials[0].values == pytest.approx([study.trials[0].values[0], 0.5])
    assert tuner.best(study).number in {trial.number for trial in study.best_trials}


DIES = """
import os, sys
from pathlib import Path
from bench.tuning import study as studies
kept, lock = studies.storage(sys.argv[1])
study = studies.loaded("study", kept)
trial = studies.ask(study, lock, 6, lambda number: studies.sampler("random", {}, number))
trial.suggest_float("alpha", 0, 2, step=0.25)
os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
def test_a_killed_workers_trial_is_failed_and_taken_up_again(tmp_path):
    start(tmp_path, replace(PLAN, trials=3))
    done = subprocess.run([sys.executable, "-c", DIES, str(tmp_path / "studies.journal")], check=False)
    assert done.returncode == -9
    study = start(tmp_path)
    states = [trial.state.name for trial in study.trials]
    assert states.count("COMPLETE") == 6
    assert states.count("FAIL") == 1
    assert tuner.how_it_ended(study.trials[3]) == "failed"
    dead, again = study.trials[3], study.trials[4]
    assert dead.user_attrs["reason"] == studies.DIED
    assert again.user_attrs["retry_of"] == 3
    assert again.params["alpha"] == dead.params["alpha"]


def test_a_trial_of_a_process_that_lives_is_left_alone(tmp_path):
    kept, lock = studies.storage(str(tmp_path / "studies.journal"))
    study = studies.opened("study", kept, lock, PLAN.identity(), studies.pruner("none", 2))
    running = studies.ask(study, lock, 6, lambda number: studies.sampler("random", SPACE, number))
    assert str(os.getpid()) in running.user_attrs["worker"]
    assert studies.counted(study) == 1
    finished = start(tmp_path)
    assert [trial.state.name for trial in finished.trials].count("RUNNING") == 1
    assert studies.counted(finished) == 6


def test_several_workers_lose_no_trial_and_make_none_twice(tmp_path):
    plan = replace(PLAN, trials=12, promising=0)
    start(tmp_path, replace(plan, trials=1))
    workers = [threading.Thread(target=start, args=(tmp_path, plan)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    kept, _ = studies.storage(str(tmp_path / "studies.journal"))
    trials = studies.loaded("study", kept).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 12
    assert [trial.number for trial in trials] == list(range(12))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "ff", "base": {}, "space": {}}, "study 'study' has method 'asge', not 'ff'"),
        ({"epochs": 3}, "study 'study' has epochs 2, not 3"),
        ({"seed": 3}, "has seed 0, not 3"),
    ],
)
def test_a_study_of_something_else_is_refused(tmp_path, changes, message):
    start(tmp_path, replace(PLAN, trials=1))
    with pytest.raises(UserError, match=message):
        start(tmp_path, replace(PLAN, **changes))


def test_a_study_whose_maker_was_killed_is_made_whole(tmp_path):
    kept, _ = studies.storage(str(tmp_path / "studies.journal"))
    half = optuna.create_study(study_name="study", storage=kept, direction="maximize")
    half.set_user_attr("method", "asge")
    assert start(tmp_path).user_attrs.items() >= PLAN.identity().items()


@pytest.mark.parametrize("sampler", ["random", "tpe", "cmaes"])
def test_every_sampler_draws_from_the_space_and_the_same_again(tmp_path, sampler):
    plan = replace(PLAN, sampler=sampler, promising=0)
    first, again = (drawn(start(tmp_path / name, plan)) for name in "ab")
    assert first == again
    assert all(0 <= settings["alpha"] <= 2 and settings["reduction"] in ("mean", "sum") for settings in first)


def test_storages_that_do_not_answer():
    with pytest.raises(UserError, match=r"storage 'postgresql://me:\*\*\*@127.0.0.1:9/none' does not answer: "):
        studies.storage("postgresql://me:secret@127.0.0.1:9/none")
    with pytest.raises(UserError, match="cannot be written"):
        studies.storage("/proc/none/studies.journal")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: studies.sampler("tpa", {}, 0), "did you mean 'tpe'"),
        (lambda: studies.pruner("medium", 3), "did you mean 'median'"),
        (lambda: studies.objectives("accuracy,tme"), "did you mean 'time'"),
        (lambda: studies.objectives("time"), "accuracy must come first"),
        (lambda: studies.objectives("accuracy,accuracy"), "each only once"),
    ],
)
def test_unknown_names_are_one_sentence(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_a_grid_is_walked_through(tmp_path):
    study = start(tmp_path, replace(PLAN, sampler="grid", trials=50, promising=0))
    assert len(study.trials) == len({tuple(sorted(settings.items())) for settings in drawn(study)}) == 18


def test_what_is_exported_says_where_it_comes_from(tmp_path):
    from bench import suites

    study = start(tmp_path)
    content = export.suite([study])
    best = tuner.best(study)
    defaults = {"reduction": "mean", "alpha": 1.0}
    drawn_by_best = best.user_attrs["settings"].items()
    changed = {key: value for key, value in drawn_by_best if defaults[key] != value}
    assert content["methods"] == {"asge": {"plan": "tiny", **changed}}
    found = content["tuning"]["asge"]
    assert (found["study"], found["trial"], found["seeds"], found["trials"]) == ("study", best.number, [0, 1, 2], 6)
    assert found["seconds"] == round(sum(trial.user_attrs["seconds"] for trial in study.trials), 3)
    export.write(content, tmp_path / "tuned.toml")
    assert suites.load(str(tmp_path / "tuned.toml")).methods["asge"]["plan"] == "tiny"


def test_studies_that_do_not_go_together_are_no_suite(tmp_path):
    one, same = start(tmp_path, replace(PLAN, trials=1)), start(tmp_path, replace(PLAN, trials=1), name="same")
    with pytest.raises(UserError, match="studies 'study' and 'same' are both of asge"):
        export.suite([one, same])
    kept, _ = studies.storage(str(tmp_path / "studies.journal"))
    with pytest.raises(UserError, match="did you mean 'study'"):
        studies.loaded("stdy", kept)
