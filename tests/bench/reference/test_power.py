"""Simulated suites: the arrays agree with the rules they repeat, and detectable drops are detected."""

import math

import numpy as np
import pytest
from scipy import stats

from bench.reference import power, significance
from bench.reference.baseline import Baseline
from bench.reference.power import Design


def baseline(design, stored):
    seeds = dict(enumerate(stored.tolist()))
    own = {seed: seeds[seed] for seed in range(design.n)} if design.own else {}
    return Baseline(own, {seed: seeds[seed] for seed in range(design.n, len(seeds))}, samples=10**9)


@pytest.mark.parametrize(
    "design",
    [Design(12, 3, 9), Design(12, 3, 9, own=False), Design(3, 1, 8), Design(2, 1, 4, own=False), Design(10, 1, 9)],
)
def test_arrays_hold_the_rules_of_a_check(design):
    generator = np.random.default_rng(1)
    stored = 80 + 2 * generator.standard_t(3, (300, design.m + design.n))
    new = 80 - generator.choice([0, 2, 4, 12], (300, 1)) + 2 * generator.standard_t(3, stored.shape)
    new -= 60 * (generator.random(stored.shape) < 0.1)  # some seeds collapse
    alarms, fails = design.judge(stored, new)
    for row in range(300):
        kept = baseline(design, stored[row])
        values = dict(enumerate(new[row].tolist()))
        own = {seed: values.pop(seed) for seed in range(design.n)}
        alarm = kept.low(own, design.rows) or bool(kept.collapsed(own))
        assert alarm == alarms[row]
        assert (alarm and kept.confirms(own, values, design.rows)) == fails[row]
    assert 20 < alarms.sum() < 280
    assert fails.any()


@pytest.mark.parametrize("repeated", [None, 0.9])
@pytest.mark.parametrize(("m", "n", "rows"), [(12, 3, 9), (20, 3, 9), (3, 1, 8)])
def test_the_drop_that_the_statement_names_is_found_and_confirmed_as_often_as_it_says(m, n, rows, repeated):
    design = Design(m, n, rows, repeated)
    drop = power.detectable(design)
    generator = np.random.default_rng(2)
    common, before, after = generator.normal(size=(3, 4000, m + n))
    share = math.sqrt(repeated or 0.0), math.sqrt(1 - (repeated or 0.0))
    stored, new = (share[0] * common + share[1] * each for each in (before, after))
    found = (design.low(stored, new - drop) & design.lower(stored, new - drop)).mean()
    assert found == pytest.approx(power.POWER, abs=0.03)


def test_more_values_and_seeds_that_repeat_detect_more():
    by_values = [power.detectable(Design(m, 3, 9)) for m in (4, 12, 20, 40)]
    assert by_values == sorted(by_values, reverse=True)
    by_repeats = [power.detectable(Design(12, 3, 9, repeated)) for repeated in (None, 0.5, 0.9, 0.99)]
    assert by_repeats == sorted(by_repeats, reverse=True)


def test_where_no_drop_would_do_the_drop_is_infinite():
    assert power.detectable(Design(2, 1, 10**9, own=False)) == math.inf


@pytest.mark.parametrize("pairs", [11, 15, 23])
def test_signed_ranks_are_critical_where_scipy_says(pairs):
    level = significance.Levels.of(9).pairs
    differences = np.random.default_rng(3).normal(-1.0, 1.0, (300, pairs))
    expected = [stats.wilcoxon(each, alternative="less", method="exact").pvalue <= level for each in differences]
    found = Design(pairs - 1, 1, 9).lower(np.zeros((300, pairs)), differences)
    assert found.tolist() == expected
    assert 10 < sum(expected) < 290 or pairs == 11


SHAPES = {
    "normal": lambda generator, size: generator.normal(size=size),
    "t3": lambda generator, size: generator.standard_t(3, size) / math.sqrt(3),
    "left-skewed": lambda generator, size: 1 - generator.exponential(size=size),
}


@pytest.mark.parametrize(("m", "n", "rows"), [(12, 3, 9), (3, 1, 8)])
@pytest.mark.parametrize(
    ("shape", "spread"), [("normal", 1.0), ("t3", 1.0), ("left-skewed", 1.0), ("normal", 1.5), ("normal", 2.0)]
)
def test_a_healthy_suite_fails_as_rarely_as_promised(m, n, rows, shape, spread):
    suites = 4000
    generator = np.random.default_rng(4)
    stored, new = (80 + factor * SHAPES[shape](generator, (suites * rows, m + n)) for factor in (1.0, spread))
    _, fails = Design(m, n, rows).judge(stored, new)
    share = fails.reshape(suites, rows).any(axis=1).mean()
    promised = significance.FALSE_ALARMS
    assert share <= promised + 3 * math.sqrt(promised * (1 - promised) / suites)


@pytest.mark.parametrize("repeated", [0.5, 0.9, 0.99])
def test_a_repeatability_that_is_wrong_costs_alarms_and_no_failures(repeated):
    """The stored repeats say that seeds repeat, and nothing of them does."""
    suites, rows, promised = 4000, 9, significance.FALSE_ALARMS
    stored, new = np.random.default_rng(5).normal(80, 1, (2, suites * rows, 15))
    alarms, fails = Design(12, 3, rows, repeated).judge(stored, new)
    share = fails.reshape(suites, rows).any(axis=1).mean()
    assert alarms.reshape(suites, rows).any(axis=1).mean() > significance.ALARMS
    assert share <= promised + 3 * math.sqrt(promised * (1 - promised) / suites)
