"""The statistics, compared with other sources' formulas and with simulated suites."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.reference import confirm, significance

VALUES = st.lists(st.floats(0, 100), min_size=2, max_size=8).filter(lambda v: statistics.stdev(v) > 1e-3)


def below(reference, new, level):
    return statistics.fmean(new) < statistics.fmean(reference) - significance.mean_margin(reference, new, level)


@given(reference=VALUES, new=VALUES, level=st.sampled_from([0.001, 0.01, 0.05, 0.3]))
def test_the_mean_is_tested_as_scipy_does(reference, new, level):
    p = stats.ttest_ind(new, reference, alternative="less").pvalue
    if abs(p - level) > 1e-9:
        assert below(reference, new, level) == (p < level)


def test_one_new_value_is_tested_against_the_references_deviation():
    reference = [90.0, 91.0, 92.0]
    # s = 1, t(0.99, 2) = 6.9646
    expected = 6.964557 * math.sqrt(1 / 3 + 1)
    assert significance.mean_margin(reference, [50.0], 0.01) == pytest.approx(expected, rel=1e-6)
    assert significance.single_margin(reference, 0.01) == pytest.approx(expected, rel=1e-6)


def test_a_deviation_that_is_small_by_chance_is_not_believed():
    assert significance.single_margin([90.0] * 3, 0.01, least=0.5) == pytest.approx(6.964557 * 0.5 * math.sqrt(4 / 3))
    assert significance.pooled_deviation([90.0] * 3, [90.0], least=0.5) == 0.5


@pytest.mark.parametrize(
    ("m", "n", "rows", "expected"), [(10, 1, 1, 3.9), (10, 3, 1, 2.4), (10, 5, 1, 1.9), (20, 5, 1, 1.7),
                                     (10, 3, 16, 3.5), (10, 5, 16, 2.8), (20, 5, 16, 2.3)]
)  # fmt: skip
def test_what_can_be_seen_at_one_per_cent(m, n, rows, expected):
    level = significance.sidak(0.01, rows)
    assert significance.power(expected, m, n, level) == pytest.approx(0.8, abs=0.03)


def test_levels_add_up_to_the_promise():
    levels = significance.Levels.of(rows=8, new=3)
    none = (1 - levels.mean) ** 8 * (1 - levels.single) ** 24
    assert 1 - none == pytest.approx(significance.FALSE_ALARMS, rel=0.01)
    assert 1 - none <= significance.FALSE_ALARMS


def alone(reference, new, level):
    return min(new) < statistics.fmean(reference) - significance.single_margin(reference, level)


def suite_alarms(generator, *, rows, m, n, drop, suites):
    """Of simulated suites, the share with an alarm, and the share with one that fresh seeds confirm, in row 0."""
    levels = significance.Levels.of(rows, n)
    alarms = confirmed = 0
    for _ in range(suites):
        reference = generator.normal(90, 1, (rows, m)).tolist()
        new = generator.normal(90, 1, (rows, n))
        new[0] -= drop
        fresh = generator.normal(90, 1, (rows, n))
        fresh[0] -= drop
        raised = [
            row
            for row in range(rows if drop == 0 else 1)
            if below(reference[row], new[row].tolist(), levels.mean)
            or new[row].min()
            < statistics.fmean(reference[row]) - significance.single_margin(reference[row], levels.single)
        ]
        alarms += bool(raised)
        confirmed += any(confirm.confirms(reference[row], fresh[row].tolist(), 0.0) for row in raised)
    return alarms / suites, confirmed / suites


def monte_carlo_error(share, trials):
    return 3 * math.sqrt(share * (1 - share) / trials)


@pytest.mark.parametrize(("rows", "m", "n"), [(1, 20, 3), (8, 20, 3), (8, 9, 1)])
def test_a_healthy_suite_raises_as_few_alarms_as_promised_and_fails_more_rarely(rows, m, n):
    suites = 4000 // rows
    alarms, confirmed = suite_alarms(np.random.default_rng(1), rows=rows, m=m, n=n, drop=0, suites=suites)
    assert alarms <= significance.FALSE_ALARMS + monte_carlo_error(significance.FALSE_ALARMS, suites)
    assert confirmed <= significance.FALSE_ALARMS / 2 + monte_carlo_error(significance.FALSE_ALARMS / 2, suites)


def test_alarms_are_not_rarer_than_promised_either():
    trials = 20000
    generator = np.random.default_rng(2)
    alarms = sum(
        below(generator.normal(90, 1, 10).tolist(), generator.normal(90, 1, 3).tolist(), 0.05) for _ in range(trials)
    )
    assert alarms / trials == pytest.approx(0.05, abs=monte_carlo_error(0.05, trials))


@pytest.mark.parametrize(("rows", "m", "n"), [(8, 20, 3), (8, 9, 1), (4, 10, 3)])
def test_the_drop_that_the_statement_names_is_found_and_confirmed_as_often_as_it_says(rows, m, n):
    suites = 2000
    drop = significance.detectable(m, n, rows)
    _, confirmed = suite_alarms(np.random.default_rng(3), rows=rows, m=m, n=n, drop=drop, suites=suites)
    assert confirmed >= significance.POWER - monte_carlo_error(significance.POWER, suites)
    assert confirmed <= significance.POWER + 0.05  # it promises no less than it could


def test_a_run_that_collapses_does_not_excuse_itself():
    reference = [90.0, 90.3, 89.7, 90.1, 89.9, 90.2, 89.8, 90.0, 90.1, 89.9]
    new = [90.0, 90.1, 10.0]
    levels = significance.Levels.of(8, 3)
    assert not below(reference, new, levels.mean)  # its own deviation hides it from the test of the mean
    assert alone(reference, new, levels.single)


def test_where_no_drop_would_do_the_drop_is_infinite():
    assert significance.detectable(2, 1, 50) == math.inf
