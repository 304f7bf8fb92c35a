"""`bench test`: what a name stands for, a line per check, and the exit status."""

import json
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest
from command_line import assert_one_sentence

from bench.testing import FIGURE_CHECKS, TASK_CHECKS, Result, packages


@pytest.fixture
def of_methods(monkeypatch):
    """Checks of methods have results given here; what they were asked with is kept."""
    asked = []

    def give(results):
        def check_method(name, settings, device):
            asked.append((name, settings, device))
            return results

        monkeypatch.setattr(packages, "check_method", check_method)
        return asked

    return give


def lines(done):
    return [tuple(line.values()) for line in json.loads(done.stdout)]


def test_a_task_and_a_figure_pass(bench):
    done = bench.inside("test", "digits", "accuracy-by-seed", "digits", "--format", "json")
    assert done.returncode == 0, done.stderr
    passed = [("task", "digits", check.name, "passed", "") for check in TASK_CHECKS]
    assert lines(done) == passed + [("figure", "accuracy-by-seed", check.name, "passed", "") for check in FIGURE_CHECKS]


@pytest.mark.slow
def test_a_small_method_passes_and_what_is_not_offered_is_named(bench):
    done = bench("test", "backprop", "--set", "plan=4,8", "--format", "csv", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert "method,backprop,beginning-takes-over-what-was-learned,passed,\n" in done.stdout
    assert "method,backprop,layers-predict,skipped,the learner has no layer_logits\n" in done.stdout


def test_a_failed_check_is_status_3_and_settings_that_agree_share_a_line(bench, of_methods):
    of_methods([
        Result("first", "passed", variant="a=1"), Result("second", "failed", "expected x, found y", "a=1"),
        Result("first", "passed", variant="a=2"), Result("second", "passed", variant="a=2"),
    ])  # fmt: skip
    done = bench.inside("test", "asge", "--format", "json")
    assert done.returncode == 3
    assert lines(done) == [
        ("method", "asge", "first", "passed", ""),
        ("method", "asge", "second", "failed", "with (a=1): expected x, found y"),
        ("method", "asge", "second", "passed", "with (a=2)"),
    ]


def test_a_skipped_check_is_no_failure(bench, of_methods):
    of_methods([Result("first", "skipped", "the learner has no examine")])
    assert bench.inside("test", "asge").returncode == 0


def test_settings_are_for_methods_and_checked_first(bench, of_methods):
    asked = of_methods([])
    assert bench.inside("test", "asge", "--set", "plan=8,M,16", "--set", "alpha=0.5").returncode == 0
    assert asked == [("asge", {"plan": "8,M,16", "alpha": 0.5}, "cpu")]
    assert bench.inside("test", "asge").returncode == 0
    assert asked.pop() == ("asge", None, "cpu")
    assert_one_sentence(bench.inside("test", "digits", "--set", "alpha=1"), "--set is for methods")
    assert_one_sentence(bench.inside("test", "asge", "--set", "alph=1"), "did you mean 'alpha'")
    assert_one_sentence(bench.inside("test", "asge", "--set", "alpha"), "--set", "KEY=VALUE")
    assert_one_sentence(bench.inside("test", "asge", "--device", "tpu"), "--device")
    assert len(asked) == 1


def test_unknown_names_are_status_2(bench):
    assert_one_sentence(bench.inside("test", "asg"), "unknown method, task, figure or package 'asg'", "'asge'")
    assert_one_sentence(bench.inside("test", "numpy"), "numpy", "bench.methods", "bench.tasks", "bench.figures")
    assert bench.inside("test").returncode == 2


def test_a_package_stands_for_all_that_it_registers(monkeypatch):
    package = SimpleNamespace(
        name="mine",
        entry_points=[
            EntryPoint("one", "mine:One", "bench.methods"),
            EntryPoint("two", "mine:TWO", "bench.tasks"),
            EntryPoint("three", "mine:three", "bench.figures"),
            EntryPoint("mine", "mine:main", "console_scripts"),
        ],
    )
    monkeypatch.setattr(packages, "distribution", lambda name: package)
    assert packages.find(["mine", "mine"]) == [("method", "one"), ("task", "two"), ("figure", "three")]


@pytest.mark.parametrize(("group", "meant"), [("bench.method", "bench.methods"), ("bench-tasks", "bench.tasks")])
def test_a_misnamed_group_is_named(bench, monkeypatch, group, meant):
    package = SimpleNamespace(name="mine", entry_points=[EntryPoint("one", "mine:One", group)])
    monkeypatch.setattr(packages, "distribution", lambda name: package)
    assert_one_sentence(bench.inside("test", "mine"), f"'one' in the group '{group}'", f"'{meant}' is")


def test_all_of_this_project_are_found():
    found = packages.find(["local-learning-bench"])
    assert ("method", "asge") in found
    assert ("task", "digits") in found
    assert {kind for kind, _ in found} == {"method", "task"}
