import pytest
from factories import record

from bench.errors import UserError
from bench.reference import measured


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_REFERENCE", str(tmp_path))
    return tmp_path


def test_values_by_seed_and_a_history_that_goes_on():
    records = [
        record(seed=1, accuracies={"last": 91.0, "best": 92.0}),
        record(seed=0, accuracies={"last": 90.0, "best": 93.0}),
    ]
    measured.update("mine", records, "first")
    measured.update("mine", records[:1], "second")
    measured.update("mine", records, "third")
    stored = measured.load("mine")
    assert [(row.strategy, [value.accuracy for value in row.values]) for row in stored.rows] == [
        ("last", [90.0, 91.0]),
        ("best", [93.0, 92.0]),
    ]
    assert [(change.reason, change.rows, change.seeds) for change in stored.history] == [
        ("first", 2, 2),
        ("second", 2, 1),
        ("third", 2, 2),
    ]


def test_failed_records_make_no_reference():
    with pytest.raises(UserError, match="no finished record of suite 'mine'"):
        measured.update("mine", [record(status="failed")], "why not")


def test_no_file_is_no_reference_and_a_broken_one_an_error(folder):
    assert measured.load("mine") is None
    (folder / "measured").mkdir()
    (folder / "measured" / "mine.json").write_text("{")
    with pytest.raises(UserError, match=r"mine\.json"):
        measured.load("mine")
