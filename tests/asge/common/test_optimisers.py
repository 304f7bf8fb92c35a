import math
from types import SimpleNamespace

import pytest
import torch

from asge.common.optimisers import ScheduledOptimiser, schedule_factor


@pytest.mark.parametrize(
    ("schedule", "progress", "expected"),
    [
        ("constant", 0.7, 1.0),
        ("cosine", 0.0, 1.0),
        ("cosine", 0.5, 0.5),
        ("cosine", 1.0, 0.0),
        ("flat-linear", 0.5, 1.0),
        ("flat-linear", 0.75, 0.5),
        ("flat-linear", 1.0, 0.0),
        ("one-cycle", 0.0, 0.04),
        ("one-cycle", 0.125, 0.52),
        ("one-cycle", 0.25, 1.0),
        ("one-cycle", 0.625, 0.5),
        ("one-cycle", 1.0, 0.0),
        ("milestones", 0.49, 1.0),
        ("milestones", 0.8, 1 / 16),
        ("steps", 149 / 350, 1.0),
        ("steps", 150 / 350, 0.1),
        ("steps", 250 / 350, 0.01),
        ("late-steps", 0.59, 1.0),
        ("late-steps", 300 / 500, 0.1),
        ("late-steps", 450 / 500, 0.001),
        ("imagenet-steps", 29 / 100, 1.0),
        ("imagenet-steps", 60 / 100, 0.01),
    ],
)
def test_schedules_by_hand(schedule, progress, expected):
    assert math.isclose(schedule_factor(schedule, progress), expected, abs_tol=1e-12)


def test_unknown_names_say_what_is_valid():
    with pytest.raises(ValueError, match="one-cycle, cosine"):
        schedule_factor("step", 0.5)
    with pytest.raises(ValueError, match="adamw, adam, sgd"):
        ScheduledOptimiser([torch.zeros(1, requires_grad=True)], _settings(optimiser="lion"), 1)
    with pytest.raises(ValueError, match="nesterov needs a momentum above 0"):
        ScheduledOptimiser([torch.zeros(1, requires_grad=True)], _settings(optimiser="nesterov"), 1)


def _settings(**changes):
    defaults = {
        "optimiser": "sgd",
        "learning_rate": 0.1,
        "weight_decay": 0.0,
        "momentum": 0.0,
        "schedule": "constant",
    }
    return SimpleNamespace(**defaults | changes)


def test_plain_sgd_follows_the_schedule():
    weight = torch.tensor([1.0], requires_grad=True)
    optimiser = ScheduledOptimiser([weight], _settings(schedule="flat-linear"), total_steps=4)
    for _ in range(4):
        optimiser.zero_grad()
        weight.sum().backward()
        optimiser.step()
    assert math.isclose(weight.item(), 1.0 - 0.1 * (1 + 1 + 1 + 0.5), rel_tol=1e-6)


def test_nesterov_looks_ahead():
    weight = torch.tensor([1.0], requires_grad=True)
    optimiser = ScheduledOptimiser([weight], _settings(optimiser="nesterov", momentum=0.9), total_steps=2)
    for _ in range(2):
        optimiser.zero_grad()
        weight.sum().backward()
        optimiser.step()
    assert math.isclose(weight.item(), 1.0 - 0.1 * (1 + 0.9) - 0.1 * (1 + 0.9 * 1.9), rel_tol=1e-6)


def test_a_group_may_have_a_weight_decay_of_its_own():
    one, two = (torch.tensor([1.0], requires_grad=True) for _ in range(2))
    groups = [{"params": [one], "weight_decay": 0.5}, {"params": [two], "weight_decay": 0.0}]
    optimiser = ScheduledOptimiser(groups, _settings(weight_decay=9.0), total_steps=1)
    (one + two).sum().backward()
    optimiser.step()
    assert math.isclose(one.item(), 1 - 0.1 * 1.5, rel_tol=1e-6)
    assert math.isclose(two.item(), 1 - 0.1, rel_tol=1e-6)


def test_a_group_may_have_a_learning_rate_of_its_own_under_the_one_schedule():
    one, two = (torch.tensor([1.0], requires_grad=True) for _ in range(2))
    groups = [{"params": [one]}, {"params": [two], "lr": 0.01}]
    optimiser = ScheduledOptimiser(groups, _settings(schedule="flat-linear"), total_steps=4)
    for _ in range(4):
        optimiser.zero_grad()
        (one + two).sum().backward()
        optimiser.step()
    shares = 1 + 1 + 1 + 0.5
    assert math.isclose(one.item(), 1 - 0.1 * shares, rel_tol=1e-6)
    assert math.isclose(two.item(), 1 - 0.01 * shares, rel_tol=1e-6)


def test_a_fresh_one_that_loads_the_state_goes_on_at_the_same_rates():
    def stepped(weight, optimiser, steps):
        for _ in range(steps):
            optimiser.zero_grad()
            weight.square().sum().backward()
            optimiser.step()

    settings = _settings(schedule="flat-linear", momentum=0.9)
    straight, stopped = (torch.tensor([1.0], requires_grad=True) for _ in range(2))
    stepped(straight, ScheduledOptimiser([straight], settings, total_steps=4), 4)
    before = ScheduledOptimiser([stopped], settings, total_steps=4)
    stepped(stopped, before, 3)
    after = ScheduledOptimiser([stopped], settings, total_steps=4)
    after.load_state_dict(before.state_dict())
    stepped(stopped, after, 1)
    assert torch.equal(straight, stopped)


def test_one_optimiser_over_two_blocks_equals_one_each():
    def losses(weights):
        return (weights[0].square().sum() + weights[0].sum(), (weights[1] - 3).square().sum())

    together = [torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([0.5], requires_grad=True)]
    apart = [w.detach().clone().requires_grad_() for w in together]
    settings = _settings(optimiser="adamw", weight_decay=0.01)
    one = ScheduledOptimiser(together, settings, 10)
    each = [ScheduledOptimiser([w], settings, 10) for w in apart]
    for _ in range(5):
        one.zero_grad()
        for loss in losses(together):
            loss.backward()
        one.step()
        for optimiser, loss in zip(each, losses(apart), strict=True):
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    for a, b in zip(together, apart, strict=True):
        torch.testing.assert_close(a, b)


def test_a_parameter_without_gradient_is_left_alone():
    used, unused = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    optimiser = ScheduledOptimiser([used, unused], _settings(optimiser="adamw", weight_decay=0.1), 2)
    optimiser.zero_grad()
    used.sum().backward()
    optimiser.step()
    assert used.item() < 1
    assert unused.item() == 1


def test_milestones_take_a_quarter_at_the_published_shares_of_training():
    factors = [schedule_factor("milestones", share) for share in (0, 0.49, 0.5, 0.74, 0.75, 0.88, 0.89, 0.93, 0.94, 1)]
    assert factors == [1, 1, 1 / 4, 1 / 4, 1 / 16, 1 / 16, 1 / 64, 1 / 64, 1 / 256, 1 / 256]


def test_a_schedule_by_epochs_down_to_a_minimum_is_pytorchs():
    mine, theirs = (torch.ones(3, requires_grad=True) for _ in range(2))
    settings = _settings(schedule="cosine", optimiser="adamw", learning_rate=1e-2, weight_decay=0.0)
    optimiser = ScheduledOptimiser([mine], settings, total_steps=12, hold=3, min_rate=1e-3)
    expected = torch.optim.AdamW([theirs], 1e-2, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(expected, 4, eta_min=1e-3)
    for step in range(12):
        for weight, stepper in ((mine, optimiser), (theirs, expected)):
            weight.grad = torch.tensor([1.0, -2.0, 0.5]) * (step + 1)
            stepper.step()
        if step % 3 == 2:
            schedule.step()
        torch.testing.assert_close(mine, theirs)


def test_a_minimum_above_the_peak_is_refused():
    with pytest.raises(ValueError, match=r"must not be above its peak, 0\.01: got 0\.1"):
        ScheduledOptimiser([torch.zeros(1, requires_grad=True)], _settings(learning_rate=0.01), 1, min_rate=0.1)
