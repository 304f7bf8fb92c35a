import pytest
from factories import cell, record

from bench.errors import UserError
from bench.reference import measured


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_REFERENCE", str(tmp_path))
    return tmp_path


EXPECTED = [(cell(seed=0), ("last", "best"))]


def records(*values):
    return [record(seed=seed, accuracies={"last": last, "best": best}) for seed, (last, best) in enumerate(values)]


def test_values_by_seed_and_a_history_that_goes_on():
    measured.update("mine", EXPECTED, records((90.0, 93.0), (91.0, 92.0)), "first")
    measured.update("mine", EXPECTED, records((80.0, 83.0), (81.0, 82.0), (82.0, 81.0)), "second")
    stored = measured.load("mine")
    assert [(row.strategy, [value.accuracy for value in row.values]) for row in stored.rows] == [
        ("last", [80.0, 81.0, 82.0]),
        ("best", [83.0, 82.0, 81.0]),
    ]
    assert [change.reason for change in stored.history] == ["first", "second"]
    first = stored.history[1].rows[0]
    assert (first.row, first.old, first.old_seeds, first.new, first.new_seeds) == (
        "fashion-mnist asge/last", 90.5, 2, 81.0, 3,
    )  # fmt: skip
    assert [(opening.seed, opening.losses) for opening in stored.openings] == [(0, {"loss": [2.0, 1.5, 1.2]})]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], "fashion-mnist asge/best has fewer than 2 finished seeds"),
        ([record(status="failed"), record(seed=1, status="diverged")], "fewer than 2"),
        ([record(seed=0), record(seed=1)], "asge/best has fewer than 2"),
        (records((1.0, 2.0)), "fewer than 2"),
        ([record(seed=s, accuracies={"last": 1.0, "best": 2.0}, epochs=9) for s in (0, 1)], "fewer than 2"),
    ],
)
def test_a_reference_needs_every_row_and_two_seeds(found, message):
    with pytest.raises(UserError, match=message):
        measured.update("mine", EXPECTED, found, "why not")
    assert measured.load("mine") is None


def test_records_of_two_versions_of_the_code_make_no_reference():
    one, two = records((90.0, 93.0), (91.0, 92.0))
    two = two.model_copy(update={"code": two.code.model_copy(update={"fingerprint": "other"})})
    with pytest.raises(UserError, match="2 versions of the code"):
        measured.update("mine", EXPECTED, [one, two], "why not")


def test_no_file_is_no_reference_and_a_broken_one_an_error(folder):
    assert measured.load("mine") is None
    (folder / "measured").mkdir()
    (folder / "measured" / "mine.json").write_text("{")
    with pytest.raises(UserError, match=r"mine\.json"):
        measured.load("mine")
