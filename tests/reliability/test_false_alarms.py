import numpy as np
from factories import cell, measured, record
from false_alarms import draw, draw_costs, values

EXPECTED = [(cell(seed=seed), ("last",)) for seed in range(3)]


def fresh(drop):
    drawn = np.random.default_rng(4).normal(90 - drop, 0.5, 20)
    return [record(seed=200 + index, accuracies={"last": float(value)}) for index, value in enumerate(drawn)]


def stored():
    return measured(np.random.default_rng(5).normal(90, 0.5, 20).tolist())


def test_healthy_suites_hardly_ever_fail_and_broken_ones_always():
    healthy = draw(values(fresh(0.0)), stored(), 3, draws=500)
    assert healthy["failures"] <= 5
    assert healthy["alarms"] <= 200
    broken = draw(values(fresh(5.0)), stored(), 3, draws=500)
    assert broken["alarms"] == broken["failures"] == 500
    assert broken["alarms by row"] == {"asge/last": 500}


def test_memory_and_speed_are_judged_suite_by_suite():
    counted = draw_costs(EXPECTED, fresh(0.0), stored(), draws=7)
    assert counted == {"memory": {"ok": 7}, "speed": {"no reference": 7}, "slower by method": {}}


def test_values_by_row_and_seed():
    assert values([record(seed=7, accuracies={"last": 90.0})]) == {"asge/last": {7: 90.0}}
