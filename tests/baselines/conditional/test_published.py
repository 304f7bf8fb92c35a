"""Every published configuration builds, takes a step, and counts its work."""

from functools import cache
from types import SimpleNamespace

import pytest
import torch

from baselines.conditional import aig, bas
from baselines.conditional.gates import gate_macs
from baselines.conditional.resnet import GatedResNet

CIFAR = SimpleNamespace(shape=(3, 32, 32), classes=10)
IMAGENET = SimpleNamespace(shape=(3, 224, 224), classes=1000)
BUDGET = SimpleNamespace(epochs=350, steps_per_epoch=100)
AIG = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "schedule": "steps"}
AIG_IMAGENET = AIG | {"weight_decay": 1e-4, "schedule": "imagenet-steps", "rate_weight": 1.0}
OF_101 = (1.0, 1.0, 0.8, 1.0, *[0.5] * 26, 1.0, 0.7, 1.0)
CONFIGURATIONS = [
    *[(aig, CIFAR, {"architecture": "cifar-110", "target": rate, **AIG}) for rate in (0.6, 0.7)],
    (aig, IMAGENET, {"architecture": "imagenet-50", "target": 0.4, **AIG_IMAGENET}),
    (aig, IMAGENET, {"architecture": "imagenet-50", "target": 0.7, **AIG_IMAGENET}),
    (aig, IMAGENET, {"architecture": "imagenet-101", "target": 0.5, **AIG_IMAGENET}),
    (aig, IMAGENET, {"architecture": "imagenet-101", "block_targets": OF_101, **AIG_IMAGENET}),
    *[(bas, CIFAR, {"architecture": f"cifar-{depth}"}) for depth in (20, 32, 56)],
    *[(bas, IMAGENET, {"architecture": f"imagenet-{depth}"}) for depth in (18, 34, 50)],
]


LARGE = ("imagenet-34", "imagenet-50", "imagenet-101")


def settings_of(module, options):
    return (aig.AIGSettings if module is aig else bas.BASSettings)(**options)


@cache
def macs_without_gates(architecture, shape, classes):
    ungated = GatedResNet(architecture, classes, generator=torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        return ungated(torch.zeros(1, *shape)).macs.item()


@pytest.mark.parametrize(
    ("module", "task", "options"),
    [pytest.param(*each, marks=[pytest.mark.slow] * (each[2]["architecture"] in LARGE)) for each in CONFIGURATIONS],
    ids=[f"{m.__name__.rpartition('.')[2]}-{o['architecture']}-{o.get('target', '')}" for m, _, o in CONFIGURATIONS],
)
def test_a_published_configuration_takes_a_step(module, task, options):
    generator = torch.Generator().manual_seed(0)
    learner = module.build(task, settings_of(module, options), BUDGET, torch.device("cpu"), generator)
    images = torch.randn(2, *task.shape, generator=generator)
    before = [parameter.detach().clone() for parameter in learner.parameters()]
    learner.begin_epoch(0)

    losses = learner.train_step(images, torch.tensor([0, 1]))

    assert all(loss.isfinite() for loss in losses.values())
    assert set(losses) == ({"loss", "rate"} if module is aig else {"loss", "shaping", "l0"})
    after = list(learner.parameters())
    assert all(parameter.isfinite().all() for parameter in after)
    assert sum(not torch.equal(old, new) for old, new in zip(before, after, strict=True)) > 0.9 * len(after)

    whole = macs_without_gates(options["architecture"], task.shape, task.classes)
    gates = [gate for block in learner.network.blocks for gate in (block.block_gate, block.channel_gate) if gate]
    of_gates = sum(gate_macs(gate) for gate in gates)
    for macs in learner.executed_macs(images).tolist():
        assert of_gates < macs <= whole + of_gates
    assert of_gates < 0.01 * whole
