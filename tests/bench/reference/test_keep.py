import pytest
from factories import cell, record, relative

from bench.errors import UserError
from bench.records import Yardstick
from bench.reference import measured
from bench.reference.keep import keep
from bench.reference.update import update

STRATEGIES = ("last", "best")
BEFORE = [(cell(seed=0), STRATEGIES), (cell("backprop", seed=0), STRATEGIES)]
NEW = {"settings": {"new": 0}, "yardstick": Yardstick(method="backprop", settings={"new": 0})}
NOW = [(cell(seed=0, **NEW), STRATEGIES), (cell("backprop", seed=0, **NEW), STRATEGIES)]


@pytest.fixture(autouse=True)
def stored(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_REFERENCE", str(tmp_path))
    found = [run(seed, method=method) for seed in range(4) for method in ("asge", "backprop")]
    update("mine", BEFORE, found, "first", any_code=True)
    return measured.load("mine")


def run(seed, last=90.0, method="asge", **changes):
    accuracies = {"last": last, "best": 91.0 + seed}
    return record(method, seed=seed, accuracies=accuracies, relative=relative(2.0), **changes)


BACKPROP = run(0, method="backprop", **NEW)


def test_equal_numbers_under_new_settings_keep_every_value(stored):
    change = keep("mine", NOW, [run(0, **NEW), BACKPROP], "a setting was added", any_code=True)
    kept = measured.load("mine")
    assert (change.reason, change.rows) == ("a setting was added", [])
    assert kept.history == [*stored.history, change]
    spec = NOW[0][0]
    now = {part.experiment for part, _ in NOW}
    assert {part.experiment for part in (*kept.rows, *kept.goldens, *kept.costs)} == now
    assert kept.contents == {part.experiment: part.content for part, _ in NOW}
    assert [row.values for row in kept.rows] == [row.values for row in stored.rows]
    assert kept.costs[0].yardstick == spec.yardstick
    assert [cost.speeds for cost in kept.costs] == [[2.0] * 4] * 2
    assert (kept.code, kept.environment) == (stored.code, stored.environment)


def changed(found, **fields):
    return found.model_copy(update=fields)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], "asge has no finished seed 0"),
        ([run(1, **NEW)], "asge has no finished seed 0"),
        ([run(0, status="diverged", **NEW)], "asge has no finished seed 0"),
        ([run(0, last=90.01, **NEW)], "accuracy of last is 90.01, stored 90.00"),
        ([changed(run(0, **NEW), inputs={"train": "a", "test": "c"})], "the learner's test data have changed"),
        ([record(seed=0, accuracies={"last": 90.0}, **NEW)], "strategies are last, stored are last, best"),
        ([changed(run(0, **NEW), opening_losses={"loss": [2.0, 1.5, 1.2000001]})], "loss loss at step 3"),
        (
            [changed(run(0, **NEW), environment=run(0).environment.model_copy(update={"cpu": "other"}))],
            "those of seed 0 are from another machine",
        ),
    ],
)
def test_anything_else_keeps_nothing(stored, found, message):
    same_machine = {"environment": found[0].environment} if found else {}
    with pytest.raises(UserError, match=message):
        keep("mine", NOW, [*found, changed(BACKPROP, **same_machine)], "why not", any_code=True)
    assert measured.load("mine") == stored


def test_speeds_beside_another_yardstick_stay_beside_it(stored):
    new = NEW | {"yardstick": Yardstick(method="ff", settings={})}
    expected = [(cell(seed=0, **new), STRATEGIES)]
    keep("mine", expected, [run(0, **new)], "another yardstick", any_code=True)
    kept = measured.load("mine")
    assert [cost.yardstick for cost in kept.costs] == [stored.costs[0].yardstick]
    assert {row.method for row in kept.rows} == {"asge"}  # the suite no longer has backprop


def test_only_what_was_stored_can_be_kept(stored):
    with pytest.raises(UserError, match="no measured references for suite 'other'"):
        keep("other", NOW, [run(0, **NEW)], "why not", any_code=True)
    ff = [(cell("ff", seed=0), ("last",))]
    with pytest.raises(UserError, match="ff has no golden numbers in the reference"):
        keep("mine", ff, [record("ff", seed=0)], "why not", any_code=True)
    with pytest.raises(UserError, match="a different version of the code"):
        keep("mine", NOW, [run(0, **NEW), BACKPROP], "why not")


def test_some_methods_are_kept_and_what_is_stored_of_the_others_stays(stored):
    keep("mine", NOW[1:], [BACKPROP], "only backprop", any_code=True, untouched=("asge",))
    kept = measured.load("mine")
    of_asge = [part for part in kept.rows if part.method == "asge"]
    assert of_asge == [part for part in stored.rows if part.method == "asge"]
    assert {part.experiment for part in kept.rows if part.method == "backprop"} == {NOW[1][0].experiment}
    assert {cost.yardstick.settings["new"] for cost in kept.costs} == {0}  # the same yardstick under its new settings


def test_what_all_speeds_are_beside_cannot_be_left_out(stored):
    with pytest.raises(UserError, match="all speeds are relative to backprop"):
        keep("mine", NOW[:1], [run(0, **NEW)], "why not", any_code=True, untouched=("backprop",))
    assert measured.load("mine") == stored
