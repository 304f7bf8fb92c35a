import pytest
from factories import cell, measured, record

from bench.reference import check as checking
from bench.reference import confirm

THREE = [(cell(seed=seed), ("last",)) for seed in range(3)]
STORED = measured([89.8, 90.0, 90.2, 90.1, 89.9, 90.0])


def alarm():
    low = [record(seed=seed, accuracies={"last": 88.0}) for seed in range(3)]
    return checking.verdicts(THREE, low, STORED), low


def decided(fresh):
    checks, _ = alarm()
    [row] = [check for check in confirm.decide(checks, fresh, STORED) if check.what == "accuracy"]
    return row


def test_fresh_seeds_are_neither_the_suites_nor_the_references():
    checks, low = alarm()
    assert [check.verdict for check in confirm.alarms(checks)] == ["regression"]
    stored = STORED.model_copy(
        update={"rows": [row.model_copy(update={"values": [v.model_copy(update={"seed": 3 + i})
                         for i, v in enumerate(row.values)]}) for row in STORED.rows]}
    )  # fmt: skip
    cells = confirm.fresh_cells(confirm.alarms(checks), low, stored)
    assert [spec.seed for spec in cells] == [9, 10, 11]
    assert {spec.experiment for spec in cells} == {low[0].cell.experiment}


@pytest.mark.parametrize(("value", "verdict", "words"), [(88.1, "regression", "confirm"), (90.1, "ok", "withdrawn")])
def test_fresh_seeds_decide(value, verdict, words):
    row = decided([record(seed=seed, accuracies={"last": value}) for seed in (20, 21, 22)])
    assert row.verdict == verdict
    assert words in row.note
    assert "20, 21, 22" in row.note


def test_an_alarm_that_cannot_be_confirmed_stands():
    assert decided([]).verdict == "regression"
    high = [record(seed=seed, accuracies={"last": 90.1}) for seed in (20, 21)]
    for dead in ([], [record(seed=22, status="failed")]):
        row = decided([*high, *dead])
        assert row.verdict == "regression"
        assert "not confirmed by fresh seeds" in row.note
        assert not dead or "it broke" in row.note
