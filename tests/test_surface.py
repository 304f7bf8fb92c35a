"""The public surface, frozen: a change here is a change for users, and belongs in the changelog."""

import dataclasses
import inspect

import bench
from bench import plugins, testing
from bench.options import RunOptions


def test_the_package():
    assert sorted(bench.__all__) == [
        "Runs", "UserError", "Verdicts", "__version__", "check", "load", "run",
    ]  # fmt: skip
    assert all(getattr(bench, name) is not None for name in bench.__all__)
    assert set(bench.__all__) <= set(dir(bench))


def test_running_takes_the_options_of_a_run():
    expected = [
        "suite", "methods", "tasks", "seeds", "first_seed", "epochs", "loader", "device", "threads", "settings",
        "data_dir", "out", "force", "any_code", "keep", "stall", "watchers", "unequal_budgets", "workers",
        "devices", "rough", "precision", "execution",
    ]  # fmt: skip
    assert sorted(inspect.signature(bench.run).parameters) == sorted(expected)
    assert inspect.signature(bench.run) == inspect.signature(RunOptions)
    assert next(iter(inspect.signature(bench.run).parameters)) == "suite"


def test_loading_and_checking():
    assert list(inspect.signature(bench.load).parameters) == ["folder"]
    assert list(inspect.signature(bench.check).parameters) == ["suite", "runs", "confirm", "any_code", "data_dir"]


def test_what_runs_and_verdicts_offer():
    def public(cls):
        return sorted(name for name in vars(cls) if not name.startswith("_"))

    offered = ["accuracies", "checks", "frame", "plot", "problems", "records", "rows"]
    assert public(bench.Runs) == offered
    assert {"folder", "found"} <= set(inspect.signature(bench.Runs).parameters)
    assert {"frame", "missing", "notes", "ok", "status"} <= set(public(bench.Verdicts))


def test_what_plug_ins_import():
    assert sorted(plugins.__all__) == [
        "Arrays", "Beginner", "CellSpec", "Choice", "ChoosesLayer", "Compilable", "Conditional", "DataFile",
        "EpochRecord", "Examinable", "Examination", "Fetcher", "FigureRuns", "Goodness", "Inspectable", "Learner",
        "LearningRate", "LoaderError", "Method", "Momentum", "Neutral", "Observable", "OptimiserSetting",
        "OptimiserSettings", "Outcome", "PerLayer", "Range", "Record", "ScheduleSetting",
        "ScheduledOptimiser", "Split", "StrategyRecord", "Task", "TaskShape", "TrainingBudget",
        "TrainingRecord", "UserError", "Watcher", "WeightDecay",
    ]  # fmt: skip
    assert all(hasattr(plugins, name) for name in plugins.__all__)


def test_what_plug_ins_test_themselves_with():
    assert sorted(testing.__all__) == [
        "Check", "CheckFailed", "FIGURE_CHECKS", "METHOD_CHECKS", "NotOffered", "RegisteredFigure", "RegisteredTask",
        "Result", "SmallMethod", "Status", "TASK_CHECKS", "check_figure", "check_method", "check_task", "made_up_runs",
        "variants",
    ]  # fmt: skip
    assert list(inspect.signature(testing.check_method).parameters) == ["name", "settings", "device"]
    assert list(inspect.signature(testing.check_task).parameters) == ["name", "data_dir"]
    assert [field.name for field in dataclasses.fields(testing.Result)] == ["check", "status", "reason", "variant"]
