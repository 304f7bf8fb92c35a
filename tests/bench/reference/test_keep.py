import pytest
from factories import cell, record, relative

from bench.errors import UserError
from bench.records import Yardstick
from bench.reference import measured
from bench.reference.keep import keep
from bench.reference.update import update

STRATEGIES = ("last", "best")
BEFORE = [(cell(seed=0), STRATEGIES)]
NEW = {"settings": {"new": 0}, "yardstick": Yardstick(method="backprop", settings={"new": 0})}
NOW = [(cell(seed=0, **NEW), STRATEGIES)]


@pytest.fixture(autouse=True)
def stored(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_REFERENCE", str(tmp_path))
    update("mine", BEFORE, [run(seed) for seed in range(4)], "first", any_code=True)
    return measured.load("mine")


def run(seed, last=90.0, **changes):
    return record(seed=seed, accuracies={"last": last, "best": 91.0 + seed}, relative=relative(2.0), **changes)


def test_equal_numbers_under_new_settings_keep_every_value(stored):
    change = keep("mine", NOW, [run(0, **NEW)], "a setting was added", any_code=True)
    kept = measured.load("mine")
    assert (change.reason, change.rows) == ("a setting was added", [])
    assert kept.history == [*stored.history, change]
    spec = NOW[0][0]
    assert {part.experiment for part in (*kept.rows, *kept.goldens, *kept.costs)} == {spec.experiment}
    assert [row.values for row in kept.rows] == [row.values for row in stored.rows]
    assert kept.costs[0].yardstick == spec.yardstick
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
        ([changed(run(0, **NEW), inputs={"train": "a", "test": "c"})], "the test data .* have changed"),
        ([changed(run(0, **NEW), opening_losses={"loss": [2.0, 1.5, 1.2000001]})], "loss loss at step 3"),
        (
            [changed(run(0, **NEW), environment=run(0).environment.model_copy(update={"cpu": "other"}))],
            "those of seed 0 are another machine's",
        ),
    ],
)
def test_anything_else_keeps_nothing(stored, found, message):
    with pytest.raises(UserError, match=message):
        keep("mine", NOW, found, "why not", any_code=True)
    assert measured.load("mine") == stored


def test_only_what_was_stored_can_be_kept(stored):
    with pytest.raises(UserError, match="no measured references for suite 'other'"):
        keep("other", NOW, [run(0, **NEW)], "why not", any_code=True)
    ff = [(cell("ff", seed=0), ("last",))]
    with pytest.raises(UserError, match=r"ff computes something else .*no golden numbers are stored"):
        keep("mine", ff, [record("ff", seed=0)], "why not", any_code=True)
    with pytest.raises(UserError, match="other code than is here now"):
        keep("mine", NOW, [run(0, **NEW)], "why not")
