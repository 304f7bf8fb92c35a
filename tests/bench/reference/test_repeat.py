import pytest
from factories import cell, record, relative

from bench.errors import UserError
from bench.reference import measured
from bench.reference.baseline import Baseline
from bench.reference.keep import keep
from bench.reference.repeat import repeat
from bench.reference.update import update

EXPECTED = [(cell(seed=0), ("last",))]


def run(seed, shift=0.0, **changes):
    return record(seed=seed, accuracies={"last": 90.0 + seed + shift}, relative=relative(2.0), **changes)


@pytest.fixture(autouse=True)
def stored(tmp_path, monkeypatch):
    """Values 90, 91, ... of seeds 0, 1, ...; seed 0 is the suite's own."""
    monkeypatch.setenv("BENCH_REFERENCE", str(tmp_path))
    update("mine", EXPECTED, [run(seed) for seed in range(5)], "first", any_code=True)
    return measured.load("mine")


def test_another_rounding_of_stored_seeds_is_kept_and_no_value_changes(stored):
    found = [run(0, 0.1, cpu="another"), run(2, -0.1, cpu="another"), run(9, cpu="another"), run(3, 0.1)]
    change = repeat("mine", EXPECTED, found, "another processor", any_code=True)
    now = measured.load("mine")
    assert (change.reason, change.rows, now.history[-1]) == ("another processor", [], change)
    assert [(part.seed, part.machine.cpu, part.accuracies) for part in now.repeats] == [
        (0, "another", {"last": 90.1}), (2, "another", {"last": 91.9}),
    ]  # fmt: skip
    assert now.model_copy(update={"repeats": [], "history": stored.history}) == stored
    row = Baseline.of(now, EXPECTED[0][0].experiment, "last", [0])
    assert row.own == {0: 90.0}
    assert row.others == {1: 91.0, 2: 92.0, 3: 93.0, 4: 94.0}
    assert row.repeats == [(90.0, 90.1), (92.0, 91.9)]


def test_seeds_that_end_alike_count_where_the_machine_rounds_otherwise(stored):
    """Equal accuracies of seed 1 tell something, since the losses of seed 0 show that it was computed otherwise."""
    moved = run(0, cpu="another").model_copy(update={"opening_losses": {"loss": [2.0, 1.5000001, 1.2]}})
    repeat("mine", EXPECTED, [moved, run(1, cpu="another")], "another processor", any_code=True)
    row = Baseline.of(measured.load("mine"), EXPECTED[0][0].experiment, "last", [0])
    assert row.repeats == [(90.0, 90.0), (91.0, 91.0)]


def test_one_repeat_per_seed_and_machine_the_newest(stored):
    first = [run(seed, 0.1, cpu="another") for seed in range(2)]
    repeat("mine", EXPECTED, first, "one", any_code=True)
    later = [run(1, 0.2, cpu="another", created="2026-02-01T00:00:00+00:00"), run(1, 0.3, cpu="a third")]
    repeat("mine", EXPECTED, [*later, *first], "two", any_code=True)
    kept = [(part.seed, part.machine.cpu, part.accuracies["last"]) for part in measured.load("mine").repeats]
    assert kept == [(0, "another", 90.1), (1, "another", 91.2), (1, "a third", 91.3)]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], "no record of mine repeats a stored seed"),
        ([run(1, 0.1)], "no record of mine repeats"),  # on the reference's machine
        ([run(1, cpu="another")], "no record of mine repeats"),  # rounded alike
        ([run(1, 0.1, cpu="another", status="failed")], "no record of mine repeats"),
        ([run(1, 0.1, cpu="another", epochs=9)], "no record of mine repeats"),
        ([run(0, 0.1, cpu="another", inputs={"train": "x", "test": "b"})], "does not repeat its reference"),
    ],
)
def test_what_repeats_nothing_is_refused(stored, found, message):
    with pytest.raises(UserError, match=message):
        repeat("mine", EXPECTED, found, "why not", any_code=True)
    assert measured.load("mine") == stored


def test_repeats_are_of_one_version_of_the_code_and_of_a_reference():
    one, two = run(1, 0.1, cpu="another"), run(2, 0.1, cpu="another")
    two = two.model_copy(update={"code": two.code.model_copy(update={"computation": "other"})})
    with pytest.raises(UserError, match="2 versions of the code"):
        repeat("mine", EXPECTED, [one, two], "why not", any_code=True)
    with pytest.raises(UserError, match="a different version of the code"):
        repeat("mine", EXPECTED, [one], "why not")
    with pytest.raises(UserError, match="no measured references for suite 'other'"):
        repeat("other", EXPECTED, [one], "why not", any_code=True)


def test_repeats_stay_with_values_that_are_kept_and_go_with_those_that_change():
    repeat("mine", EXPECTED, [run(1, 0.1, cpu="another")], "another processor", any_code=True)
    renamed = [(cell(seed=0, settings={"new": 0}), ("last",))]
    keep("mine", renamed, [run(0, settings={"new": 0})], "a setting", any_code=True)
    [part] = measured.load("mine").repeats
    assert (part.experiment, part.seed) == (renamed[0][0].experiment, 1)
    again = [run(seed, 1.0, settings={"new": 0}) for seed in range(5)]
    update("mine", renamed, again, "other values", any_code=True)
    assert measured.load("mine").repeats == []
