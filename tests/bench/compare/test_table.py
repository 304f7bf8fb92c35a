import math
from dataclasses import replace

import numpy as np
import pytest
from factories import cell, record
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sides_made_up import only, runs

from bench.compare import table as compare
from bench.records import Found, Unreadable


@pytest.mark.parametrize(
    ("a", "b"),
    [([90.1, 90.7, 89.8], [91.0, 91.9, 90.2]), ([70.0, 71.5], [70.2, 69.0, 71.1, 70.6]), ([90.0, 90.5, 91.0], [88.0])],
)
def test_the_difference_is_that_of_the_two_sample_t_test(a, b):
    found = compare.difference(a, b)
    expected = stats.ttest_ind(b, a, equal_var=True, alternative="less")
    interval = stats.ttest_ind(b, a, equal_var=True).confidence_interval(0.95)
    assert found.estimate == pytest.approx(np.mean(b) - np.mean(a))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.probability == pytest.approx(expected.pvalue)


def test_one_value_against_two_by_hand():
    """Mean 3 against 1; squares 1 + 1, one degree of freedom, error sqrt(2 (1 + 1/2)); t is then Cauchy's."""
    found = compare.difference([1.0], [2.0, 4.0])
    half = math.tan(math.pi * 0.475) * math.sqrt(3)
    assert (found.estimate, found.low, found.high) == pytest.approx((2.0, 2.0 - half, 2.0 + half))
    assert found.probability == pytest.approx(0.5 + math.atan(2 / math.sqrt(3)) / math.pi)


@pytest.mark.parametrize(
    ("a", "b"), [([1.0], [2.0]), ([], [1.0, 2.0, 3.0]), ([1.0, 2.0], []), ([90.0, 90.0], [90.5, 90.5]), ([], [])]
)
def test_there_is_no_difference_without_a_spread(a, b):
    assert compare.difference(a, b) is None


def test_the_interval_covers_what_it_says():
    """4000 trials with the true difference 1: 95 % of the intervals hold it, within four standard errors."""
    generator = np.random.default_rng(0)
    covered = above = 0
    trials = 4000
    for a, b in zip(generator.normal(80, 2, (trials, 3)), generator.normal(81, 2, (trials, 5)), strict=True):
        found = compare.difference(a.tolist(), b.tolist())
        covered += found.low <= 1 <= found.high
        above += found.low > 1
    assert covered / trials == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / trials))
    assert above / trials == pytest.approx(0.025, abs=4 * math.sqrt(0.025 * 0.975 / trials))


VALUES = st.lists(st.integers(0, 1000).map(lambda hits: hits / 10), min_size=2, max_size=6)


@given(VALUES, VALUES)
def test_changing_sides_changes_signs(a, b):
    one, other = compare.difference(a, b), compare.difference(b, a)
    if one is None:
        assert other is None
    else:
        assert (one.estimate, one.low, one.high) == pytest.approx((-other.estimate, -other.high, -other.low))
        assert one.probability == pytest.approx(1 - other.probability)


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ([90.0, 90.1, 90.2], [95.0, 95.1, 95.2], "better"),
        ([95.0, 95.1, 95.2], [90.0, 90.1, 90.2], "worse"),
        ([90.0, 91.0, 92.0], [90.5, 91.5, 92.5], "no difference seen"),
        ([90.0, 91.0], [90.0, 91.0], "identical"),
        ([90.0], [90.0], "identical"),
        ([91.0, 90.0], [90.0, 91.0], "no difference seen"),  # the same values, of other seeds
        ([90.0, 90.0], [90.0], "no difference seen"),  # the binomial deviation serves
        ([90.0], [95.0], "too few seeds"),
        ([90.0, 90.0], [95.0, 95.0], "better"),
    ],
)
def test_the_verdict_on_accuracies(a, b, verdict):
    row = only(runs(a), runs(b))
    assert row.verdict == verdict
    assert (row.n_a, row.n_b) == (len(a), len(b))
    assert row.difference == pytest.approx(np.mean(b) - np.mean(a))
    assert (row.low is None) == (row.high is None) == (row.probability is None) == (verdict in NO_INTERVAL)


NO_INTERVAL = ("identical", "too few seeds")


def test_no_difference_comes_with_what_would_have_been_seen():
    """Deviation 1 on both sides, error sqrt(2/3), t(97.5 %, 4) = 2.776: half the interval is 2.27 points."""
    row = only(runs([90.0, 91.0, 92.0]), runs([90.5, 91.5, 92.5]))
    assert row.notes == ("a difference below 2.27 points would not have been seen",)
    assert (row.low, row.high) == pytest.approx((0.5 - 2.2669, 0.5 + 2.2669), abs=1e-3)


def test_a_row_of_one_side_only():
    both = [record(accuracies={"last": 90.0, "best": 91.0})]
    table = compare.comparisons(Found([*both, record("cwc")]), Found([record(), record("ff")]))
    assert [(row.method, row.strategy, row.verdict) for row in table] == [
        ("asge", "last", "identical"), ("asge", "best", "only in A"), ("cwc", "last", "only in A"),
        ("ff", "last", "only in B"),
    ]  # fmt: skip
    assert table[1].mean_a == 91.0
    assert table[1].mean_b is table[1].difference is table[1].speed_ratio is None


def test_a_side_that_failed():
    broken = [record(seed=seed, status="failed") for seed in (0, 1)]
    row = only(runs([90.0, 91.0]), broken)
    assert (row.verdict, row.n_a, row.n_b, row.failed_a, row.failed_b) == ("failed", 2, 0, 0, 2)
    assert row.notes == ("B, seeds 0, 1: failed: it broke",)
    assert only(broken, broken).strategy == ""
    assert only(broken, []).verdict == "failed"


def test_cells_without_a_record_are_failures_too():
    damaged = Unreadable("record.json", "it is damaged", cell(seed=2))
    found = Found(runs([90.0, 91.0]), [cell(seed=1), cell(seed=3)], [cell(seed=4)], [damaged])
    [row] = compare.comparisons(found, Found(runs([90.0, 91.0])))
    assert (row.verdict, row.failed_a) == ("identical", 3)  # seed 1 has another record, which is ok
    assert row.notes == (
        "A, seed 2: it is damaged", "A, seed 3: interrupted", "A, seed 4: a process is running it now",
    )  # fmt: skip


def test_the_newest_record_of_a_seed_that_is_ok_counts():
    several = [
        record(accuracies={"last": 92.0}, created="2026-03-01T00:00:00+00:00", threads=4),
        record(accuracies={"last": 91.0}, created="2026-02-01T00:00:00+00:00"),
        record(status="failed", created="2026-04-01T00:00:00+00:00", threads=8),
    ]
    row = only(several, runs([92.0]))
    assert (row.n_a, row.mean_a, row.verdict) == (1, 92.0, "identical")
    assert "conditions differ: threads is 4 in A, 2 in B" in row.notes


def test_the_only_experiments_of_a_method_are_compared_whatever_they_are():
    row = only(runs([90.0], settings={"learning_rate": 0.01, "new": 1}), runs([90.0], epochs=4))
    assert row.verdict == "identical"
    assert row.notes[0] == (
        "conditions differ: learning_rate is 0.01 in A, absent in B, new is 1 in A, absent in B, "
        "epochs is 2 in A, 4 in B"
    )


def test_several_experiments_are_matched_and_told_apart():
    a = [*runs([90.0], epochs=2), *runs([80.0], epochs=4)]
    b = [*runs([81.0], epochs=4), *runs([70.0], epochs=8)]
    table = compare.comparisons(Found(a), Found(b))
    assert [(row.label, row.method, row.verdict, row.difference) for row in table] == [
        ("asge epochs=2", "asge", "only in A", None),
        ("asge epochs=4", "asge", "too few seeds", 1.0),
        ("asge epochs=8", "asge", "only in B", None),
    ]


def test_other_images_and_other_losses_are_told():
    a, b = runs([90.0, 91.0]), runs([90.0, 91.0])
    a = [part.model_copy(update={"inputs": {"train": "x"}}) for part in a]
    b = [part.model_copy(update={"inputs": {"train": "xy"[part.cell.seed]}}) for part in b]
    assert only(a, b).notes == ("other images, labels or order: seed 1",)
    b = [part.model_copy(update={"opening_losses": {"loss": [2.0, 1.5, 1.1]}}) for part in a]
    assert only(a, b).notes == ("the training losses differ nevertheless: seeds 0, 1",)


def test_beside_an_older_record_only_the_settings_that_both_have_are_compared():
    a, b = runs([90.0, 91.0]), runs([90.0, 91.0])
    older = [part.model_copy(update={"cell": part.cell.model_copy(update={"described": None})}) for part in a]
    assert only(older, b).notes == ()
    changed = runs([90.0, 91.0], settings={"alpha": 2.0})
    assert only(older, changed).notes == ("conditions differ: alpha is absent in A, 2.0 in B",)


@pytest.mark.parametrize(
    ("ratio", "low", "high", "same", "noisy", "verdict"),
    [
        (1.3, 1.2, 1.4, 1.1, False, "faster"),
        (0.7, 0.6, 0.8, 1.1, False, "slower"),
        (0.7, 0.6, 0.8, 0.8, False, "slower"),
        (0.7, 0.6, 0.8, 1.5, False, "same"),  # 1 / 1.5 = 0.67 is further from 1
        (1.3, 1.2, 1.4, 0.7, False, "same"),
        (1.3, 0.9, 1.9, 1.1, False, "same"),
        (1.3, 0.9, 1.9, None, False, "same"),
        (1.3, 1.2, 1.4, None, False, ""),
        (1.3, None, None, 1.1, False, ""),
        (1.3, 1.2, 1.4, 1.1, True, "noisy"),
    ],
)
def test_the_verdict_on_speed(ratio, low, high, same, noisy, verdict):
    assert compare.speed_verdict(ratio, low, high, same, noisy=noisy) == verdict


def test_speeds_are_compared_as_ratios():
    """Geometric means 100 and 200; log deviations ln 1.1 on each side: error ln 1.1 sqrt(2), 2 degrees of freedom."""
    a = runs([90.0, 91.0], rates=[110.0, 100 / 1.1])
    b = runs([90.0, 91.0], rates=[200 / 1.1, 220.0])
    row = only(a, b, again=runs([90.0], rates=[121.0]))
    half = stats.t.ppf(0.975, 2) * math.log(1.1) * math.sqrt(2)
    assert row.speed_ratio == pytest.approx(2.0)
    assert (row.speed_low, row.speed_high) == pytest.approx((2 * math.exp(-half), 2 * math.exp(half)))
    assert row.speed_same == pytest.approx(1.1)
    assert row.speed_verdict == "faster"


def test_a_noisy_timing_is_told():
    row = only(runs([90.0, 91.0], noisy=[1]), runs([90.0, 91.0], noisy=[0, 1]))
    assert row.speed_verdict == "noisy"
    assert row.notes == ("timing is noisy, the machine was busy: A seed 1, B seeds 0, 1",)


def test_a_difference_that_many_rows_show_by_chance_is_not_believed():
    """p = 0.03 of one row is below 5 %; the least of ten such values is not."""
    row = compare.Comparison(
        task="t", method="m", label="m", strategy="s", verdict="worse", n_a=3, n_b=3, failed_a=0, failed_b=0,
        difference=-1.0, low=-1.9, high=-0.1, probability=0.015,
    )  # fmt: skip
    others = [replace(row, verdict="no difference seen", probability=0.5)] * 9
    assert compare.together([row])[0].verdict == "worse"
    assert compare.together([row, *others])[0].verdict == "no difference seen"
    certain = replace(row, probability=0.001)
    assert compare.together([certain, *others])[0].verdict == "worse"


def test_a_collapse_to_one_value_is_seen_though_nothing_deviates():
    a, b = [99.0] * 5, [10.0] * 5
    assert compare.difference(a, b) is None
    found = compare.difference(a, b, least=1.0)
    assert (found.estimate, found.probability) == (-89.0, pytest.approx(0.0, abs=1e-9))
    assert found.high < 0
