import pytest
import torch

from bench.measure import race

CPU = torch.device("cpu")


def test_contestants_take_turns_and_no_one_is_always_first(monkeypatch):
    monkeypatch.setattr(race, "SEGMENT_SECONDS", 0.0)
    order = []
    steps = [lambda name=name: order.append(name) for name in "abc"]
    run = race.run(steps, CPU, rounds=2)
    tried = order[: len("abc")]  # one step each, to find out how many fit into a segment
    assert tried == ["a", "b", "c"]
    rounds = order[len(tried) :][::2]  # every segment: one untimed step, then one timed
    assert rounds[:6] == ["a", "b", "c", "c", "b", "a"]
    assert [len(rates) for rates in run.rates] == [2, 2, 2]


def test_ratio_is_taken_round_by_round():
    run = race.Race([[2.0, 4.0, 9.0], [1.0, 2.0, 3.0]], noisy=False)
    assert run.rate(0) == 4.0
    median, iqr = run.ratio(0, 1)  # 2, 2, 3
    assert (median, iqr) == (2.0, pytest.approx(0.5))
