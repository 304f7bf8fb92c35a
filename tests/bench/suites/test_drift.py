"""Sentences that say how what is stored differs from the suite that it is of."""

import pytest
from factories import record

from bench import suites
from bench.suites import drift

MINE = """
tasks = ["digits"]
epochs = 3
[methods.asge]
plan = "8,M,16"
[methods.backprop]
plan = "8,M,16"
"""


@pytest.fixture
def suite(tmp_path):
    def load(text):
        (tmp_path / "mine.toml").write_text(text)
        return suites.load(str(tmp_path / "mine.toml"))

    return load


def contents(suite):
    return {cell.experiment: cell.content for cell, _ in suites.expected(suite)}


def test_a_reference_of_the_suites_cells(suite):
    assert drift.of_reference(suite(MINE), contents(suite(MINE))) == []


def test_another_setting_is_named(suite):
    stored = contents(suite(MINE))
    changed = suite(MINE.replace("[methods.backprop]", "alpha = 0.5\n[methods.backprop]"))
    assert drift.of_reference(changed, stored) == ["suite mine: asge.alpha is 0.5, in its reference 1.0"]


def test_another_number_of_epochs_is_named_for_every_method(suite):
    stored = contents(suite(MINE))
    said = drift.of_reference(suite(MINE.replace("epochs = 3", "epochs = 4")), stored)
    assert said == ["suite mine: epochs is 4, in its reference 3"] * 2


def test_a_cell_too_few_and_one_too_many(suite):
    both = contents(suite(MINE))
    one = suite(MINE[: MINE.index("[methods.backprop]")])
    assert drift.of_reference(one, both) == ["suite mine: its reference has backprop, which the suite has not"]
    said = drift.of_reference(suite(MINE), contents(one))
    assert said == ["suite mine: its reference has no backprop on digits with these settings"]


def test_a_reference_that_does_not_say_what_it_is_of(suite):
    stored = {**contents(suite(MINE)), "abc": {}}
    said = ["suite mine: its reference has an experiment abc that the suite has not"]
    assert drift.of_reference(suite(MINE), stored) == said


def test_records_are_compared_with_the_changes_that_they_name(suite):
    whole = suite(MINE)
    [of_asge, *_] = suites.cells(whole, suites.Overrides(threads=1))
    made = record().model_copy(update={"cell": of_asge, "id": of_asge.id})
    assert drift.of_records(whole, [made]) == []
    longer = of_asge.model_copy(update={"epochs": 9})
    other = made.model_copy(update={"cell": longer, "id": longer.id})
    assert drift.of_records(whole, [other]) == [f"suite mine: epochs is 3, in {longer.id} 9"]
    assert drift.of_records(whole, [other.model_copy(update={"overrides": {"epochs": 9}})]) == []
