"""How many operations a training step dispatches, beside backprop's on the same network, and that none waits."""

from types import SimpleNamespace

import pytest
import torch

from asge import ASGELearner, ASGESettings
from asge.settings import AUTHORS
from baselines.backprop import BackpropLearner, BackpropSettings
from bench import methods
from bench.measure.operations import Operations
from bench.methods import settings
from bench.testing import variants

SHAPE, CPU = (1, 28, 28), torch.device("cpu")
BUDGET = SimpleNamespace(epochs=4, steps_per_epoch=10)


def dispatched(learner, shape=SHAPE):
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(8, *shape, generator=generator), torch.arange(8)
    learner.begin_epoch(0)
    for _ in range(2):  # the first makes constants and the state of optimisers
        learner.train_step(images, labels)
    with Operations() as operations:
        learner.train_step(images, labels)
    return operations


def step(kind, made, **values):
    return dispatched(kind(SimpleNamespace(shape=SHAPE, classes=10), made(**values), BUDGET, CPU, torch.Generator()))


@pytest.mark.parametrize("optimiser", ["muon", "adamw"])
@pytest.mark.parametrize("affine", [True, False])
def test_asge_dispatches_little_more_than_backprop(affine, optimiser):
    """Of RMSPool, whose gradient autograd takes by many operations, and with two classifiers more."""
    same = {"affine": affine, "optimiser": optimiser}
    ours = step(ASGELearner, ASGESettings, **same).total
    others = step(BackpropLearner, BackpropSettings, **same).total
    # AdamW's update is two operations for all parameters, so that the classifiers' share is larger.
    bar = 1.2 if optimiser == "muon" else 1.4
    assert ours <= bar * others, (ours, others)


def test_the_defaults_keep_their_number():
    assert step(ASGELearner, ASGESettings).total <= 212
    authors = {**AUTHORS, "plan": "32,M,64,M,128,M,256", "dropout": 0.0}
    assert step(ASGELearner, ASGESettings, **authors).total <= 126


def test_views_and_allocations_are_no_operations():
    with Operations() as operations:
        x = torch.empty(4, 6)
        x.view(2, 12).permute(1, 0)[:3].unsqueeze(0)
        torch.add(x, 1)
    assert dict(operations.by_name) == {"aten.add.Tensor": 1}
    assert operations.waits == []


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: float(x[0]),
        lambda x: bool((x > 0).all()),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.masked_select(x > 0),
        lambda x: torch.equal(x, x),
        lambda x: x.unique(),
    ],
)
def test_what_a_host_waits_for_is_named(wait):
    with Operations() as operations:
        wait(torch.ones(3))
    assert operations.waits


@pytest.mark.parametrize("subject", [made for name in methods.names() for made in variants(name)], ids=str)
def test_no_step_waits_for_the_device(subject):
    learner = subject.learner()
    operations = dispatched(learner, (1, 8, 8))
    assert operations.waits == []


def test_the_defaults_wait_for_nothing_either():
    for name in ("asge", "backprop", "ff", "cwc", "local-error"):
        task = SimpleNamespace(shape=SHAPE, classes=10)
        learner = methods.get(name).build(task, settings.make(name, {}), BUDGET, CPU, torch.Generator())
        assert dispatched(learner).waits == [], name
