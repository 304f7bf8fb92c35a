import pytest
from factories import cell, golden, measured, record

from bench.reference import check as checking
from bench.reference import confirm

THREE = [(cell(seed=seed), ("last",)) for seed in range(3)]
VALUES = [89.8, 90.0, 90.2, 90.1, 89.9, 90.0, 89.7, 90.3]
"""Of seeds 100 .. 107; with those of the suite's own three seeds, eleven pairs."""
STORED = measured(VALUES, goldens=[golden(seed=seed, accuracies={"last": 90.0}, cpu="another") for seed in range(3)])


def runs(value, seeds, **changes):
    return [record(seed=seed, accuracies={"last": value}, **changes) for seed in seeds]


def decided(again, *, own=88.0, stored=STORED):
    counted = runs(own, range(3))
    checks = checking.verdicts(THREE, counted, stored)
    [row] = [check for check in confirm.decide(checks, counted, again, stored) if check.what == "accuracy"]
    return row


def test_the_seeds_of_the_reference_decide():
    low = runs(88.0, range(3))
    checks = checking.verdicts(THREE, low, STORED)
    assert [check.verdict for check in confirm.alarms(checks)] == ["regression"]
    cells = confirm.repeated_cells(confirm.alarms(checks), low, STORED)
    assert [spec.seed for spec in cells] == list(range(100, 108))
    assert {spec.experiment for spec in cells} == {low[0].cell.experiment}


def test_stored_seeds_that_have_become_the_suites_own_are_not_run_twice():
    stored = measured(VALUES, first=1)  # seeds 1 .. 8
    low = runs(88.0, range(3))
    cells = confirm.repeated_cells(confirm.alarms(checking.verdicts(THREE, low, stored)), low, stored)
    assert [spec.seed for spec in cells] == list(range(3, 9))


@pytest.mark.parametrize(
    ("value", "verdict", "words"),
    [(88.1, "regression", "run again, confirm it (88.10, stored 90.00)"), (90.05, "ok", "withdrawn")],
)
def test_all_seeds_decide(value, verdict, words):
    row = decided(runs(value, range(100, 108)))
    assert row.verdict == verdict
    assert words in row.note
    assert "100, 101, 102, 103, 104, 105, 106, 107" in row.note


def test_an_alarm_by_the_own_seeds_alone_is_withdrawn():
    assert decided(runs(90.0, range(100, 108)), own=80.5).verdict == "ok"


def test_seeds_that_repeat_exactly_withdraw_it():
    again = [record(seed=100 + index, accuracies={"last": value}) for index, value in enumerate(VALUES)]
    assert decided(again).verdict == "ok"


def test_a_few_seeds_that_collapse_confirm_it_although_most_do_not():
    again = runs(90.05, range(100, 105)) + runs(20.0, range(105, 108))
    assert decided(again, own=20.0).verdict == "regression"
    assert decided(again, own=88.0).verdict == "ok"  # no own seed collapsed
    assert decided(runs(90.05, range(100, 106)) + runs(20.0, (106, 107)), own=20.0).verdict == "ok"


def test_few_stored_values_decide_too():
    stored = measured([89.9, 90.0, 90.1])
    assert decided(runs(88.0, range(100, 103)), stored=stored).verdict == "regression"
    assert decided(runs(89.9, range(100, 103)), stored=stored).verdict == "ok"


def test_an_alarm_that_cannot_be_confirmed_stands():
    assert decided([]).verdict == "regression"
    high = runs(90.1, range(100, 107))
    for dead in ([], [record(seed=107, status="failed")]):
        row = decided([*high, *dead])
        assert row.verdict == "regression"
        assert "not confirmed by the reference's seeds" in row.note
        assert not dead or "it broke" in row.note
