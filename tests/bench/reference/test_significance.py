"""The statistics, compared with other sources' formulas and with simulated seeds."""

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.reference import significance

VALUES = st.lists(st.floats(0, 100), min_size=2, max_size=8).filter(lambda v: statistics.stdev(v) > 1e-3)
DIFFERENCES = st.lists(st.integers(-30, 30), min_size=1, max_size=9)
"""Of accuracies on 10,000 images: hundredths of points, with ties and zeros."""


def below(reference, new, level):
    return statistics.fmean(new) < statistics.fmean(reference) - significance.mean_margin(reference, new, level)


def monte_carlo_error(share, trials):
    return 3 * math.sqrt(share * (1 - share) / trials)


# Means of two samples ------------------------------------------------------------------------------------------------


@given(reference=VALUES, new=VALUES, level=st.sampled_from([0.001, 0.01, 0.05, 0.3]))
def test_the_mean_is_tested_as_scipy_does(reference, new, level):
    p = stats.ttest_ind(new, reference, alternative="less").pvalue
    if abs(p - level) > 1e-9:
        assert below(reference, new, level) == (p < level)


def test_one_new_value_is_tested_against_the_references_deviation():
    # s = 1, t(0.99, 2) = 6.9646
    expected = 6.964557 * math.sqrt(1 / 3 + 1)
    assert significance.mean_margin([90.0, 91.0, 92.0], [50.0], 0.01) == pytest.approx(expected, rel=1e-6)


def test_a_deviation_that_is_small_by_chance_is_not_believed():
    assert significance.deviation([90.0] * 3, 0.5) == 0.5
    assert significance.pooled_deviation([90.0] * 3, [90.0], least=0.5) == 0.5


def test_alarms_are_not_rarer_than_promised_either():
    trials = 20000
    generator = np.random.default_rng(2)
    alarms = sum(
        below(generator.normal(90, 1, 10).tolist(), generator.normal(90, 1, 3).tolist(), 0.05) for _ in range(trials)
    )
    assert alarms / trials == pytest.approx(0.05, abs=monte_carlo_error(0.05, trials))


def test_levels_add_up_to_the_promise():
    levels = significance.Levels.of(rows=8)
    none = (1 - levels.pairs) ** 8
    assert 1 - none == pytest.approx(significance.FALSE_ALARMS * (1 - significance.COLLAPSE_SHARE))
    assert 1 - (1 - levels.alarm) ** 8 == pytest.approx(significance.ALARMS)


# Alarm ---------------------------------------------------------------------------------------------------------------


def test_without_repeats_the_mean_of_all_stored_values_is_expected():
    # Of 12 + 3 values with deviation 1, the mean of 3 new ones differs with variance 1/3 + 1/15.
    expected = stats.t.ppf(0.95, 14) * math.sqrt(1 / 3 + 1 / 15)
    assert significance.alarm_factor(12, 3, 0.05, None, own=True) == pytest.approx(expected)
    assert significance.weight(12, 3, None) == 3 / 15


def test_without_stored_values_of_the_same_seeds_those_of_others_are_expected():
    expected = stats.t.ppf(0.95, 11) * math.sqrt(1 / 3 + 1 / 12)
    assert significance.alarm_factor(12, 3, 0.05, None, own=False) == pytest.approx(expected)


@pytest.mark.parametrize("repeated", [0.0, 0.5, 0.95, 1.0])
def test_the_variance_of_the_mean_beside_what_is_expected_is_the_simulated_one(repeated):
    generator = np.random.default_rng(3)
    m, n, trials = 12, 3, 40000
    common, before, after = generator.normal(size=(3, trials, m + n))
    old, new = (math.sqrt(repeated) * common + math.sqrt(1 - repeated) * each for each in (before, after))
    weight = significance.weight(m, n, repeated)
    expected = (1 - weight) * old[:, n:].mean(axis=1) + weight * old[:, :n].mean(axis=1)
    factor = significance.alarm_factor(m, n, 0.05, repeated, own=True) / stats.t.ppf(0.95, m + n - 1)
    assert (new[:, :n].mean(axis=1) - expected).std() == pytest.approx(factor, rel=0.02, abs=1e-12)


# Repeated seeds ------------------------------------------------------------------------------------------------------


def test_what_seeds_repeat_is_a_lower_bound():
    # Three pairs that differ by 0.2: variance 0.06 over the 10 % quantile of chi squared with 3 degrees, 0.5844.
    pairs = [(80.0, 80.2), (81.0, 80.8), (79.0, 79.2)]
    assert significance.repeatability(pairs, 1.0) == pytest.approx(1 - 0.06 / 0.584374, rel=1e-5)
    assert significance.repeatability(pairs, 0.1) == 0.0
    assert significance.repeatability([(80.0, 80.0)] * 3, 1.0) == significance.MOST_REPEATED
    assert significance.repeatability([], 1.0) is None
    assert significance.repeatability(pairs, 0.0) is None


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=9), st.floats(0.01, 10))
def test_what_seeds_repeat_is_a_share(pairs, spread):
    assert 0 <= significance.repeatability(pairs, spread) <= significance.MOST_REPEATED


# Pairs ---------------------------------------------------------------------------------------------------------------


@given(DIFFERENCES)
def test_signed_ranks_are_those_of_all_signs(hundredths):
    """The p-value by listing every choice of signs, ties and zeros included."""
    nonzero = [each for each in hundredths if each]
    ranks = stats.rankdata(np.abs(nonzero)) if nonzero else np.array([])
    positive = sum(rank for rank, each in zip(ranks, nonzero, strict=True) if each > 0)
    sums = [sum(itertools.compress(ranks, signs)) for signs in itertools.product([0, 1], repeat=len(ranks))]
    expected = sum(each <= positive + 1e-9 for each in sums) / len(sums)
    assert significance.signed_rank([each / 100 for each in hundredths]) == pytest.approx(expected)


def test_signed_ranks_are_scipys_where_there_are_no_ties():
    generator = np.random.default_rng(5)
    for pairs in (6, 12, 23):
        differences = generator.normal(-0.5, 1, pairs)
        expected = stats.wilcoxon(differences, alternative="less", method="exact").pvalue
        assert significance.signed_rank(differences.tolist()) == pytest.approx(expected)


def test_seeds_that_repeat_exactly_show_no_drop():
    assert significance.signed_rank([0.0] * 15) == 1.0
    assert significance.drop_p_value([0.0] * 15, 0.001) == 1.0
    assert significance.drop_p_value([0.0] * 4, 0.001) == 1.0


@given(VALUES)
def test_few_pairs_are_tested_as_scipy_does(differences):
    expected = stats.ttest_1samp(differences, 0, alternative="less").pvalue
    assert significance.paired_t(differences) == pytest.approx(expected, abs=1e-9)


def test_differences_that_hardly_spread_by_chance_are_not_believed():
    assert significance.paired_t([-0.3, -0.3, -0.3]) < 1e-9
    # t = -0.3 / 0.3 * sqrt(3), 2 degrees of freedom
    assert significance.paired_t([-0.3, -0.3, -0.3], 0.3) == pytest.approx(stats.t.cdf(-math.sqrt(3), 2))


def test_the_number_of_pairs_decides_on_the_test():
    drop = [-1.0 - index / 10 for index in range(11)]
    assert significance.drop_p_value(drop, 0.001) == pytest.approx(2**-11)
    assert significance.drop_p_value(drop[:9], 0.001) == significance.paired_t(drop[:9]) != 2**-9


SHAPES = {
    "normal": lambda generator, size: generator.normal(size=size),
    "t3": lambda generator, size: generator.standard_t(3, size),
    "left-skewed": lambda generator, size: -generator.exponential(size=size),
    "lognormal": lambda generator, size: -generator.lognormal(0, 1, size),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pairs", [4, 12])
def test_a_drop_has_its_level_however_seeds_are_distributed(shape, pairs):
    """The promise, without normality: of seeds run twice with nothing in common, at most that many look lower."""
    generator = np.random.default_rng(6)
    trials, level = 4000, 0.05
    before, after = (SHAPES[shape](generator, (trials, pairs)) for _ in range(2))
    found = sum(significance.drop_p_value(each.tolist(), level) <= level for each in after - before)
    assert found / trials <= level + monte_carlo_error(level, trials)


@pytest.mark.parametrize("shape", ["normal", "t3"])
def test_a_drop_has_its_level_if_new_values_spread_twice_as_widely(shape):
    generator = np.random.default_rng(7)
    trials, level = 4000, 0.05
    before, after = (SHAPES[shape](generator, (trials, 12)) for _ in range(2))
    found = sum(significance.drop_p_value(each.tolist(), level) <= level for each in 2 * after - before)
    assert found / trials <= level + monte_carlo_error(level, trials)


# Collapse ------------------------------------------------------------------------------------------------------------


def test_a_collapse_is_ten_points_and_eight_deviations_deep():
    assert significance.collapse_margin(0.1) == 10.0
    assert significance.collapse_margin(2.5) == 20.0
    assert [significance.enough_collapsed(1, seeds) for seeds in (2, 3, 4)] == [True, True, False]
