import pytest
from factories import cell, record, relative

from bench.errors import UserError
from bench.reference import measured
from bench.reference.update import update


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_REFERENCE", str(tmp_path))
    return tmp_path


EXPECTED = [(cell(seed=0), ("last", "best"))]


def records(*values):
    """Seed 0 is the suite's own; the reference's values start at seed 1."""
    return [
        record(seed=seed, accuracies={"last": last, "best": best}, relative=relative(2.0))
        for seed, (last, best) in enumerate(values)
    ]


def test_values_of_other_seeds_golden_numbers_of_the_own_and_a_history_that_goes_on():
    update("mine", EXPECTED, records((99.0, 99.0), (90.0, 93.0), (91.0, 92.0)), "first", any_code=True)
    update("mine", EXPECTED, records((99.0, 98.0), (80.0, 83.0), (81.0, 82.0), (82.0, 81.0)), "second", any_code=True)
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
    [golden] = stored.goldens
    assert (golden.seed, golden.losses, golden.accuracies, golden.inputs) == (
        0, {"loss": [2.0, 1.5, 1.2]}, {"last": 99.0, "best": 98.0}, {"train": "a", "test": "b"},
    )  # fmt: skip


def test_costs_are_the_most_of_all_records_and_the_speeds_of_undisturbed_races():
    both = {"last": 90.0, "best": 91.0}
    races = [relative(2.0), relative(2.2), relative(0.1, noisy=True), None]
    update(
        "mine",
        EXPECTED,
        [record(seed=s, accuracies=both, relative=r) for s, r in enumerate(races)],
        "first",
        any_code=True,
    )
    [cost] = measured.load("mine").costs
    assert cost.speeds == [2.0, 2.2]
    assert (cost.live_bytes, cost.predict_live_bytes) == (2**19, {"last": 1000, "best": 1000})
    assert cost.yardstick.method == "backprop"


def test_a_reference_is_of_one_kind_of_machine():
    both = {"last": 90.0, "best": 91.0}
    there = record(seed=0, accuracies=both)
    there = there.model_copy(update={"environment": there.environment.model_copy(update={"threads": 1})})
    here = [record(seed=s, accuracies=both) for s in (1, 2)]
    with pytest.raises(UserError, match="2 kinds of machine"):
        update("mine", EXPECTED, [there, *here], "first", any_code=True)


def test_races_that_were_all_disturbed_make_no_reference():
    both = {"last": 90.0, "best": 91.0}
    found = [record(seed=s, accuracies=both, relative=relative(2.0, noisy=True)) for s in range(3)]
    with pytest.raises(UserError, match="fewer than 2 undisturbed races"):
        update("mine", EXPECTED, found, "first", any_code=True)


def test_other_code_makes_a_reference_only_where_that_is_wanted():
    with pytest.raises(UserError, match="a different version of the code"):
        update("mine", EXPECTED, records((90.0, 93.0), (90.0, 93.0), (91.0, 92.0)), "why not")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], "fashion-mnist asge/best has fewer than 2 finished seeds beyond the suite's own 1"),
        ([record(seed=s, status="diverged") for s in range(3)], "fewer than 2"),
        ([record(seed=s) for s in range(3)], "asge/best has fewer than 2"),
        (records((1.0, 2.0), (1.0, 2.0)), "fewer than 2"),
        ([record(seed=s, accuracies={"last": 1.0, "best": 2.0}, epochs=9) for s in range(3)], "fewer than 2"),
        (records((1.0, 2.0), (1.0, 2.0), (1.0, 2.0))[1:], "asge has no finished seed 0"),
    ],
)
def test_a_reference_needs_every_row_two_seeds_and_the_suites_own(found, message):
    with pytest.raises(UserError, match=message):
        update("mine", EXPECTED, found, "why not", any_code=True)
    assert measured.load("mine") is None


def test_records_of_two_versions_of_the_code_make_no_reference():
    own, one, two = records((90.0, 93.0), (90.0, 93.0), (91.0, 92.0))
    two = two.model_copy(update={"code": two.code.model_copy(update={"computation": "other"})})
    with pytest.raises(UserError, match="2 versions of the code"):
        update("mine", EXPECTED, [own, one, two], "why not", any_code=True)


def test_no_file_is_no_reference_and_a_broken_one_an_error(folder):
    assert measured.load("mine") is None
    (folder / "measured").mkdir()
    (folder / "measured" / "mine.json").write_text("{")
    with pytest.raises(UserError, match=r"mine\.json"):
        measured.load("mine")


def test_a_new_method_gets_values_and_the_others_keep_theirs():
    of_ff = [(cell("ff", seed=0), ("last",))]

    def runs(method, **changes):
        made = [
            record(method, seed=seed, accuracies={"last": 80.0 + seed}, relative=relative(2.0)) for seed in range(4)
        ]
        return [run.model_copy(update={"environment": run.environment.model_copy(update=changes)}) for run in made]

    update("mine", [(cell(seed=0), ("last",))], runs("asge"), "first", any_code=True)
    first = measured.load("mine")
    change = update("mine", of_ff, runs("ff"), "ff joins", any_code=True, untouched=("asge",))
    both = measured.load("mine")
    assert [row.row for row in change.rows] == ["fashion-mnist ff/last"]
    assert [row.method for row in both.rows] == ["asge", "ff"]
    assert both.contents == {each.experiment: each.content for each in (cell(seed=0), cell("ff", seed=0))}
    assert (both.rows[0], both.goldens[0], both.costs[0]) == (first.rows[0], first.goldens[0], first.costs[0])
    update("mine", of_ff, runs("ff", cpu="x"), "ff again", any_code=True, untouched=("asge",))
    mixed = measured.load("mine")
    assert [(part.method, part.machine.cpu) for part in mixed.goldens] == [("asge", "c"), ("ff", "x")]
    assert (mixed.rows[0], mixed.goldens[0], mixed.costs[0]) == (first.rows[0], first.goldens[0], first.costs[0])
    update("mine", of_ff, runs("ff"), "ff alone", any_code=True)
    assert set(measured.load("mine").contents) == {cell("ff").experiment}
