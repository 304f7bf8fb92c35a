import numpy as np
from factories import cell, measured, record
from false_alarms import draw, values

EXPECTED = [(cell(seed=seed), ("last",)) for seed in range(3)]


def fresh(drop):
    drawn = np.random.default_rng(4).normal(90 - drop, 0.5, 20)
    return [record(seed=200 + index, accuracies={"last": float(value)}) for index, value in enumerate(drawn)]


def stored():
    return measured(np.random.default_rng(5).normal(90, 0.5, 20).tolist())


def test_healthy_suites_hardly_ever_raise_an_alarm_and_broken_ones_always():
    healthy = draw(EXPECTED, fresh(0.0), stored(), draws=500)
    assert healthy["alarms"] <= 25
    assert healthy["failures"] <= healthy["alarms"]
    broken = draw(EXPECTED, fresh(5.0), stored(), draws=500)
    assert broken["alarms"] == broken["failures"] == 500
    assert broken["alarms by row"] == {"asge/last": 500}


def test_values_by_row_and_seed():
    assert values([record(seed=7, accuracies={"last": 90.0})]) == {"asge/last": {7: 90.0}}
