import before
import numpy as np
import pytest
from scipy import stats


def test_means_were_tested_as_scipy_does():
    generator = np.random.default_rng(1)
    reference, new = generator.normal(90, 1, (400, 12)), generator.normal(88.5, 1, (400, 3))
    level = 1 - (1 - 0.008) ** (1 / 9)
    by_scipy = stats.ttest_ind(new, reference, axis=1, alternative="less").pvalue < level
    alarms, _ = before.judge(reference, new, new, 9)
    single = 1 - (1 - 0.002) ** (1 / 27)
    margin = stats.t.ppf(1 - single, 11) * reference.std(axis=1, ddof=1) * np.sqrt(1 + 1 / 12)
    assert (alarms == (by_scipy | (new.min(axis=1) < reference.mean(axis=1) - margin))).all()
    assert 20 < by_scipy.sum() < 380


def test_an_alarm_was_confirmed_by_fresh_seeds_only():
    reference = np.array([[89.0, 90.0, 91.0, 90.5, 89.5]])
    low, high = np.array([[70.0, 70.5]]), np.array([[90.0, 90.2]])
    assert [each.tolist() for each in before.judge(reference, low, low, 1)] == [[True], [True]]
    assert [each.tolist() for each in before.judge(reference, low, high, 1)] == [[True], [False]]
    assert [each.tolist() for each in before.judge(reference, high, low, 1)] == [[False], [False]]


def test_the_drop_that_was_said_to_be_detected_was_the_simulated_one():
    drop = before.detectable(12, 3, 9)
    generator = np.random.default_rng(2)
    reference = generator.normal(size=(4000, 12))
    own, fresh = generator.normal(-drop, 1, (2, 4000, 3))
    _, fails = before.judge(reference, own, fresh, 9)
    assert fails.mean() == pytest.approx(0.8, abs=0.05)
