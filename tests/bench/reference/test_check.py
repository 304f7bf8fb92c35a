import math
import statistics

import numpy as np
import pytest
from factories import cell, record
from scipy import stats

from bench.reference import check as checking
from bench.reference.measured import Measured, Opening, Row, Value

EXPECTED = [(cell(seed=0), ("last",))]


def measured(values, samples=10000, strategy="last", losses=None):
    template = record()
    openings = []
    if losses:
        experiment = cell().experiment
        openings = [Opening(task="fashion-mnist", method="asge", experiment=experiment, seed=0, losses=losses)]
    row = Row(
        task="fashion-mnist",
        method="asge",
        strategy=strategy,
        experiment=cell().experiment,
        samples=samples,
        values=[Value(seed=seed, accuracy=value, commit=None) for seed, value in enumerate(values)],
    )
    return Measured(
        suite="test", environment=template.environment, code=template.code, history=[], rows=[row], openings=openings
    )


def verdict(accuracy, values, **kwargs):
    [row] = checking.check(EXPECTED, [record(accuracies={"last": accuracy})], measured(values, **kwargs))
    return row


def test_tolerance_by_the_formula():
    values = [90.0, 91.0, 92.0]
    # s = 1, larger than the binomial deviation of 0.28; t(0.99, 2) = 6.9646
    expected = 6.964557 * 1.0 * math.sqrt(1 / 3 + 1)
    assert checking.tolerance(values, 1, 10000, rows=1) == pytest.approx(expected, rel=1e-6)
    quantile = stats.t.ppf(1 - 0.01 / 4, 2)
    assert checking.tolerance(values, 2, 10000, rows=4) == pytest.approx(quantile * math.sqrt(1 / 3 + 1 / 2))


def test_a_small_deviation_by_chance_is_not_believed():
    binomial = 100 * math.sqrt(0.9 * 0.1 / 500)
    expected = stats.t.ppf(0.99, 2) * binomial * math.sqrt(1 / 3 + 1)
    assert checking.tolerance([90.0, 90.0, 90.0], 1, 500, rows=1) == pytest.approx(expected)


def test_false_alarms_are_as_rare_as_promised():
    generator = np.random.default_rng(0)
    alarms, trials = 0, 4000
    for _ in range(trials):
        reference = generator.normal(90, 1, 5).tolist()
        new = generator.normal(90, 1)
        alarms += new < statistics.fmean(reference) - checking.tolerance(reference, 1, 10**9, rows=1)
    assert alarms / trials == pytest.approx(0.01, abs=3 * math.sqrt(0.01 * 0.99 / trials))


@pytest.mark.parametrize(
    ("accuracy", "expected"), [(90.0, "ok"), (89.0, "ok"), (88.0, "regression"), (95.0, "too good")]
)
def test_verdicts(accuracy, expected):
    row = verdict(accuracy, [89.5, 90.0, 90.5, 90.2, 89.8])
    assert row.verdict == expected
    assert row.reference == pytest.approx(90.0)


def test_one_stored_seed_gives_no_deviation_and_no_verdict():
    assert verdict(50.0, [90.0]).verdict == "no reference"


def test_other_settings_do_not_compare():
    other = record(accuracies={"last": 10.0}, epochs=9)
    [row] = checking.check(EXPECTED, [other], measured([90.0, 90.1]))
    assert row.verdict == "not measured"


def test_a_failed_cell_is_not_a_missing_one():
    [row] = checking.check(EXPECTED, [record(status="diverged")], measured([90.0, 90.1]))
    assert row.verdict == "failed"
    assert "it broke" in row.note


def test_no_references_at_all():
    [row] = checking.check(EXPECTED, [record()], None)
    assert row.verdict == "no reference"


def test_the_newest_record_of_a_seed_counts():
    old = record(accuracies={"last": 10.0}, created="2026-01-01T00:00:00+00:00", loader="memory")
    new = record(accuracies={"last": 90.0}, created="2026-01-02T00:00:00+00:00", loader="ffcv")
    [row] = checking.check(EXPECTED, [new, old], measured([90.0, 90.1, 89.9]))
    assert (row.verdict, row.accuracy, row.seeds) == ("ok", 90.0, 1)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"loss": [2.0, 1.5, 1.2]}, "ok"),
        ({"loss": [2.019, 1.486, 1.2]}, "ok"),  # within 1 %
        ({"loss": [2.0, 1.5, 1.22]}, "losses differ"),
        ({"loss": [2.0, 1.5]}, "ok"),  # fewer steps stored
        ({"other": [2.0, 1.5, 1.2]}, "losses differ"),
    ],
)
def test_losses_of_the_first_steps_tell_a_change_that_accuracy_does_not(stored, expected):
    row = verdict(90.0, [89.9, 90.0, 90.1], losses=stored)
    assert row.verdict == expected


def test_the_note_names_loss_step_and_values():
    row = verdict(90.0, [89.9, 90.0, 90.1], losses={"loss": [2.0, 3.0, 1.2]})
    assert row.note == "seed 0: loss loss at step 2 is 1.5, stored 3"


def test_a_failed_or_replaced_record_beside_a_good_one_does_not_count():
    failed = record(status="failed", threads=1)
    replaced = record(accuracies={"last": 10.0}, threads=4, created="2025-01-01T00:00:00+00:00")
    good = record(accuracies={"last": 90.0})
    stored = measured([89.9, 90.0, 90.1], losses={"loss": [2.0, 1.5, 1.2]})
    [row] = checking.check(EXPECTED, [failed, good, replaced], stored)
    assert row.verdict == "ok"
