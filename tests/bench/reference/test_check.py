import math

import pytest
from factories import cell, golden, measured, record, relative, repeat

from bench.records import Yardstick
from bench.reference import check as checking
from bench.reference import costs as costing
from bench.reference import power
from bench.reference.power import Design

EXPECTED = [(cell(seed=0), ("last",))]
THREE = [(cell(seed=seed), ("last",)) for seed in range(3)]


def check_of(expected, records, stored):
    return checking.verdicts(expected, checking.counted(expected, records, lambda _: True), stored)


def by_what(checks):
    return {check.what: check for check in checks}


def accuracy(value, values, **kwargs):
    checks = check_of(EXPECTED, [record(accuracies={"last": value})], measured(values, **kwargs))
    return by_what(checks)["accuracy"]


def of(what, new, stored):
    return by_what(check_of(EXPECTED, [new], stored))[what]


@pytest.mark.parametrize(("value", "expected"), [(90.0, "ok"), (89.8, "ok"), (87.0, "regression"), (95.0, "too good")])
def test_verdicts_on_accuracy(value, expected):
    row = accuracy(value, [89.5, 90.0, 90.5, 90.2, 89.8])
    assert row.verdict == expected
    assert row.reference == pytest.approx(90.0)
    assert row.value == value


def test_limit_and_power_by_the_formula():
    stored = [89.0, 90.0, 91.0]
    row = accuracy(90.0, stored)
    # The deviation is 1, the upper quartile of t with 2 degrees of freedom 0.8165.
    assert row.limit == pytest.approx(90 - 0.816497 * math.sqrt(1 + 1 / 3))
    assert row.detects == pytest.approx(power.detectable(Design(3, 1, 1, own=False)))


def test_what_is_expected_takes_account_of_the_same_seed_before():
    stored = measured([89.0, 90.0, 91.0], goldens=[golden(accuracies={"last": 86.0}, cpu="another")])
    row = by_what(check_of(EXPECTED, [record(accuracies={"last": 86.5})], stored))["accuracy"]
    assert (row.verdict, row.reference, row.reference_seeds) == ("ok", 90.0, 3)  # no lower than before
    spread = math.sqrt(14 / 3)  # of 86, 89, 90 and 91, whose mean is 89
    upper_quartile = 0.764892  # of t with 3 degrees of freedom
    assert row.limit == pytest.approx(89.0 - upper_quartile * spread * math.sqrt(1 + 1 / 4), rel=1e-5)
    lower = by_what(check_of(EXPECTED, [record(accuracies={"last": 85.5})], stored))["accuracy"]
    assert (lower.verdict, lower.note) == ("regression", "3.50 points below")


def test_seeds_that_repeat_narrow_the_limit():
    values = [89.0, 90.0, 91.0, 90.5, 89.5]
    goldens = [golden(accuracies={"last": 90.0}, cpu="another")]
    stored = measured(values, goldens=goldens)
    again = [repeat(100 + index, value + 0.02) for index, value in enumerate(values)]
    same = stored.model_copy(update={"repeats": again})
    wide, narrow = (by_what(check_of(EXPECTED, [record()], each))["accuracy"] for each in (stored, same))
    assert narrow.limit > wide.limit
    assert narrow.detects < wide.detects


def test_seeds_that_are_all_perfect_have_no_deviation():
    row = accuracy(100.0, [100.0] * 5)
    assert (row.verdict, row.limit, row.detects) == ("ok", 100.0, 0.0)
    assert accuracy(99.9, [100.0] * 5).verdict == "regression"


def test_a_row_that_detects_nothing_useful_says_so():
    row = accuracy(90.0, [80.0, 90.0, 100.0])
    assert row.verdict == "ok"
    assert row.note == f"detects only a drop of {row.detects:.1f} points or more: too few stored values"
    assert row.detects > checking.USEFUL_DROP
    assert accuracy(90.0, [90.0, 90.1, 89.9]).note == ""


def test_a_deviation_below_the_binomial_one_is_not_believed():
    row = accuracy(89.0, [90.0, 90.0, 90.0], samples=500)
    binomial = 100 * math.sqrt(0.9 * 0.1 / 500)
    assert row.verdict == "ok"
    assert row.detects == pytest.approx(power.detectable(Design(3, 1, 1, own=False)) * binomial)


def test_a_single_seed_that_collapses_is_named():
    new = [record(seed=seed, accuracies={"last": value}) for seed, value in enumerate([90.0, 90.1, 10.0])]
    row = by_what(check_of(THREE, new, measured([89.9, 90.0, 90.1, 90.2, 89.8, 90.0])))["accuracy"]
    assert row.verdict == "regression"
    assert row.note == "seed 2 is 80.00 points below, 10.00"


def test_one_stored_seed_gives_no_deviation_and_no_verdict():
    assert accuracy(50.0, [90.0]).verdict == "no reference"


def test_other_settings_do_not_compare():
    other = record(accuracies={"last": 10.0}, epochs=9)
    checks = check_of(EXPECTED, [other], measured([90.0, 90.1]))
    assert {check.verdict for check in checks} == {"not measured"}


def test_seeds_of_the_reference_are_not_the_suites_own():
    others = [record(seed=seed, accuracies={"last": 10.0}) for seed in (1, 2)]
    checks = check_of(EXPECTED, [record(), *others], measured([89.9, 90.0, 90.1]))
    assert (by_what(checks)["accuracy"].verdict, by_what(checks)["accuracy"].seeds) == ("ok", 1)


def test_a_missing_seed_is_not_a_pass():
    checks = check_of(THREE, [record(seed=0), record(seed=1)], measured([90.0, 90.1, 89.9]))
    assert {check.verdict for check in checks} == {"not measured"}
    assert "seed 2" in checks[0].note
    assert by_what(checks)["accuracy"].value == 90.0


def test_a_failed_seed_fails_its_rows():
    checks = check_of(EXPECTED, [record(status="diverged")], measured([90.0, 90.1]))
    assert {check.verdict for check in checks} == {"failed"}
    assert "it broke" in checks[0].note


def test_no_references_at_all():
    assert {check.verdict for check in check_of(EXPECTED, [record()], None)} == {"no reference"}


def test_a_record_of_other_code_does_not_count_and_a_newer_counts_before_an_older():
    old = record(accuracies={"last": 10.0}, created="2026-01-01T00:00:00+00:00", loader="memory")
    new = record(accuracies={"last": 90.0}, created="2026-01-02T00:00:00+00:00", loader="ffcv")
    assert checking.counted(EXPECTED, [new, old], lambda _: True) == [new]
    assert checking.counted(EXPECTED, [new, old], lambda record: record.cell.loader == "memory") == [old]
    assert checking.counted(EXPECTED, [new, old], lambda _: False) == []


def test_a_strategy_that_a_record_does_not_have_is_not_measured():
    expected = [(cell(seed=0), ("last", "best"))]
    rows = [check for check in check_of(expected, [record()], measured([90.0, 90.1])) if check.what == "accuracy"]
    assert [row.verdict for row in rows] == ["ok", "not measured"]


def test_values_of_seeds_that_have_become_the_suites_own_do_not_count():
    stored = measured([10.0, 89.9, 90.0, 90.1, 90.0], first=0)
    assert by_what(check_of(EXPECTED, [record()], stored))["accuracy"].reference_seeds == 4


def test_a_failed_or_replaced_record_beside_a_good_one_does_not_count():
    failed = record(status="failed", threads=1)
    replaced = record(accuracies={"last": 10.0}, threads=4, created="2025-01-01T00:00:00+00:00")
    good = record(accuracies={"last": 90.0})
    checks = check_of(EXPECTED, [failed, good, replaced], measured([89.9, 90.0, 90.1]))
    assert by_what(checks)["accuracy"].verdict == "ok"


# Golden numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "exact", "elsewhere"),
    [
        ({"loss": [2.0, 1.5, 1.2]}, "ok", "ok"),
        ({"loss": [2.0, 1.5000001, 1.2]}, "losses differ", "ok"),
        ({"loss": [2.019, 1.486, 1.2]}, "losses differ", "ok"),  # within 1 %
        ({"loss": [2.0, 1.5, 1.22]}, "losses differ", "losses differ"),
        ({"loss": [2.0, 1.5]}, "ok", "ok"),  # fewer steps stored
        ({"loss": [2.0, 1.5, 1.2, 1.0]}, "losses differ", "losses differ"),  # fewer steps taken
        ({}, "losses differ", "losses differ"),
        ({"other": [2.0, 1.5, 1.2]}, "losses differ", "losses differ"),
    ],
)
def test_first_losses_are_equal_to_the_bit_on_an_equal_machine(stored, exact, elsewhere):
    values = [89.9, 90.0, 90.1]
    here = of("golden", record(), measured(values, goldens=[golden(losses=stored)]))
    assert here.verdict == exact
    there = of("golden", record(), measured(values, goldens=[golden(losses=stored, cpu="another")]))
    assert there.verdict == elsewhere


def test_an_own_seed_without_golden_numbers_has_no_reference():
    new = [record(seed=seed) for seed in range(3)]
    row = by_what(check_of(THREE, new, measured([90.0, 90.1, 89.9])))["golden"]
    assert (row.verdict, row.note) == ("no reference", "no golden numbers of seed 1, 2 for these settings")


def test_the_note_names_loss_step_and_values():
    row = of("golden", record(), measured([90.0, 90.1], goldens=[golden(losses={"loss": [2.0, 3.0, 1.2]})]))
    assert row.note == "seed 0: loss loss at step 2 is 1.5, stored 3"


def test_inputs_differ_wherever_they_were_made():
    stored = golden(inputs={"train": "other", "test": "b"}, cpu="another")
    row = of("golden", record(), measured([90.0, 90.1], goldens=[stored]))
    assert row.verdict == "inputs differ"
    assert "learner's train data" in row.note


def test_results_are_equal_to_the_bit_on_an_equal_machine_only():
    moved = golden(accuracies={"last": 90.01})
    assert of("golden", record(), measured([90.0, 90.1], goldens=[moved])).verdict == "results differ"
    elsewhere = golden(accuracies={"last": 90.01}, cpu="another")
    assert of("golden", record(), measured([90.0, 90.1], goldens=[elsewhere])).verdict == "ok"


# Costs ---------------------------------------------------------------------------------------------------------------


def with_costs(*, live=2**19, torch="2", speeds=(2.0, 2.1, 1.9), cpu="c"):
    return measured([90.0, 90.1, 89.9], live=live, torch=torch, speeds=speeds, cpu=cpu)


@pytest.mark.parametrize(
    ("live", "torch", "expected"),
    [(2**19, "2", "ok"), (2**19 - 4, "2", "more memory"), (2**19 - 4, "1", "ok"), (2**18, "1", "more memory"),
     (2**20, "2", "ok")],
)  # fmt: skip
def test_live_bytes_repeat_exactly_with_the_same_torch(live, torch, expected):
    assert of("memory", record(), with_costs(live=live, torch=torch)).verdict == expected


def test_bytes_of_another_device_are_not_compared():
    there = record()
    there = there.model_copy(update={"environment": there.environment.model_copy(update={"gpu": "a GPU"})})
    assert of("memory", there, with_costs(live=1)).verdict == "not compared"


def test_memory_of_a_prediction_counts_too():
    stored = with_costs()
    [cost] = stored.costs
    stored = stored.model_copy(update={"costs": [cost.model_copy(update={"predict_live_bytes": {"last": 900}})]})
    row = of("memory", record(), stored)
    assert row.verdict == "more memory"
    assert "predicting by last needs 1,000 live bytes, stored 900" in row.note


def speed(ratio, stored, **kwargs):
    return of("speed", record(relative=relative(ratio, **kwargs)), stored)


@pytest.mark.parametrize(
    ("ratio", "same", "expected"),
    [(2.0, 1.0, "ok"), (1.85, 1.0, "ok"), (0.9, 1.0, "slower"), (0.9, 1.4, "ok"), (4.0, 1.0, "ok")],
)
def test_speed_beside_the_yardstick(ratio, same, expected):
    assert speed(ratio, with_costs(), same=same).verdict == expected


def test_a_certain_but_small_loss_of_speed_is_no_failure():
    stored = with_costs(speeds=[2.0, 2.001, 1.999] * 5)
    assert speed(1.9, stored).verdict == "ok"
    assert speed(2.0 * (1 - costing.SLOWER_BY) - 0.02, stored).verdict == "slower"


def test_speeds_that_do_not_compare_are_not_compared():
    assert speed(0.5, with_costs(cpu="another")).verdict == "not compared"
    assert speed(0.5, with_costs(), noisy=True).verdict == "not compared"
    assert of("speed", record(), with_costs(speeds=())).verdict == "no reference"
    assert of("speed", record(), with_costs()).note == "a record has no speed relative to the yardstick"
    other = record(relative=relative(2.0), yardstick=Yardstick(method="ff", settings={}))
    assert of("speed", other, with_costs()).verdict == "not compared"
