"""Checks of tasks and figures fail for those that break them; those of this project draw the made-up records."""

import dataclasses
import warnings

import matplotlib.pyplot as plt
import pytest

from bench.data.sets.tasks import DIGITS
from bench.errors import UserError
from bench.report import figures
from bench.testing import FIGURE_CHECKS, check_figure, check_task, made_up_runs

DATA = DIGITS.read(None)


def failures(results):
    return {result.check: result.reason for result in results if result.status == "failed"}


@pytest.fixture
def register(monkeypatch):
    def register(thing, name):
        monkeypatch.setattr("bench.registry.load", lambda group, kind, key: thing)
        monkeypatch.setattr("bench.registry.names", lambda group: [name])

    return register


def reading(**changes):
    return lambda folder: dataclasses.replace(DATA, **changes)


@pytest.mark.parametrize(
    ("changes", "check", "reason"),
    [
        (
            {"std": (0.37, 0.37)},
            "it-is-known-by-its-own-name-and-says-what-it-is",
            "expected mean and std of 1 channels, found 1 and 2",
        ),
        (
            {"superclasses": (0, 2) * 5},
            "it-is-known-by-its-own-name-and-says-what-it-is",
            "superclasses from 0 without a gap, found [0, 2]",
        ),
        (
            {"classes": 11},
            "its-data-are-as-it-says",
            "training labels from 0 to 10, every one of them, found without [10]",
        ),
        (
            {"read": reading(test_images=DATA.test_images.float())},
            "its-data-are-as-it-says",
            "torch.uint8 test images, found torch.float32",
        ),
        (
            {"read": reading(train_labels=DATA.train_labels.int())},
            "its-data-are-as-it-says",
            "torch.int64 training labels, found torch.int32",
        ),
        ({"test_size": 10}, "its-data-are-as-it-says", "expected test_size (10) test images"),
        (
            {"mean": (0.32,)},
            "its-mean-and-std-are-those-of-its-training-pixels",
            "expected mean 0.32 of channel 0, within 0.01",
        ),
        (
            {"std": (0.36,)},
            "its-mean-and-std-are-those-of-its-training-pixels",
            "expected std 0.36 of channel 0, within 0.01",
        ),
    ],
)
def test_a_task_that_breaks_it_fails(changes, check, reason, register):
    register(dataclasses.replace(DIGITS, **changes), "digits")
    assert reason in failures(check_task("digits"))[check]


def test_the_data_of_a_task_are_read_once(register):
    once = iter([DATA])
    register(dataclasses.replace(DIGITS, read=lambda folder: next(once)), "digits")
    assert failures(check_task("digits")) == {}


def test_parts_of_a_task_that_are_missing_or_misnamed(register):
    parts = {field.name: getattr(DIGITS, field.name) for field in dataclasses.fields(DIGITS)}
    register(type("Mine", (), {**parts, "folder": None, "files": ()}), "digits")
    assert failures(check_task("digits")).get("it-has-what-a-task-needs") is None
    register(type("Mine", (), {name: part for name, part in parts.items() if name != "title"}), "digits")
    assert failures(check_task("digits"))["it-has-what-a-task-needs"] == (
        "the task has no 'title', which bench.plugins.Task needs"
    )
    del parts["class_names"]
    register(type("Mine", (), {**parts, "classnames": ("a", "b")}), "digits")
    assert failures(check_task("digits"))["it-has-what-a-task-needs"] == "'classnames' is no hook; 'class_names' is"


def test_a_task_whose_files_are_missing_is_skipped(register, monkeypatch):
    monkeypatch.setattr("bench.data.sets.sources.find", lambda task, folder: None)
    skipped = {result.reason for result in check_task("digits") if result.status == "skipped"}
    assert skipped == {"the files of digits are not here"}


@pytest.mark.parametrize("name", figures.FIGURES)
def test_this_projects_figures_pass(name):
    open_before = plt.get_fignums()
    assert failures(check_figure(name)) == {}
    assert plt.get_fignums() == open_before


def draws_nothing(runs, colors):
    return None


def takes_one(runs):
    return None


def gives_axes(runs, colors):
    return plt.subplots()[1]


def needs_work(runs, colors):
    figure, axes = plt.subplots()
    axes.bar(range(10), runs[0][1].work.macs_by_class)
    return figure


def warns(runs, colors):
    warnings.warn("deprecated", DeprecationWarning, stacklevel=1)


@pytest.mark.parametrize(
    ("draw", "check", "reason"),
    [
        (takes_one, "it-takes-records-and-colors", "expected a function (runs, colors), found (runs): too many"),
        (gives_axes, "it-draws-a-figure-or-gives-none", "expected a matplotlib.figure.Figure, or None, found Axes"),
        (warns, "it-draws-a-figure-or-gives-none", "DeprecationWarning: deprecated"),
        (needs_work, "it-does-without-what-records-may-lack", "'NoneType' object has no attribute 'macs_by_class'"),
    ],
)
def test_a_figure_that_breaks_it_fails(draw, check, reason, register):
    register(draw, "mine")
    assert reason in failures(check_figure("mine"))[check]


def test_a_figure_that_draws_nothing_is_skipped(register):
    register(draws_nothing, "mine")
    results = {result.check: result.status for result in check_figure("mine")}
    assert list(results.values()) == ["passed", "skipped", "passed"]
    assert set(results) == {check.name for check in FIGURE_CHECKS}


def test_names_that_are_none_are_refused():
    with pytest.raises(UserError, match="unknown figure 'gate': did you mean 'gates'"):
        check_figure("gate")
    with pytest.raises(UserError, match="unknown task 'digit': did you mean 'digits'"):
        check_task("digit")


def test_made_up_records_are_of_two_methods_and_two_seeds():
    assert [(name, record.cell.seed) for name, record in made_up_runs()] == [
        ("first", 0), ("first", 1), ("second", 0), ("second", 1),
    ]  # fmt: skip
    assert all(record.status == "ok" for _, record in made_up_runs())
