from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from baselines.conditional.batch_shaping import batch_shaping_loss
from baselines.conditional.local import GatedASGELearner, GatedASGESettings

TASK = SimpleNamespace(shape=(1, 8, 8), classes=4)
BUDGET = SimpleNamespace(epochs=10, steps_per_epoch=10)


def make(**settings):
    options = {"plan": "6,M,8,12", "optimiser": "sgd", "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}
    settings = GatedASGESettings(**options | settings)
    return GatedASGELearner(TASK, settings, BUDGET, torch.device("cpu"), torch.Generator().manual_seed(0))


def batch(size=16):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 1, 8, 8, generator=generator), torch.randint(4, (size,), generator=generator)


def test_every_blocks_step_is_that_of_plain_autograd_and_no_gradient_leaves_it():
    learner, twin = make(learning_rate=0.1), make()
    images, labels = batch()
    x, expected = images, {}
    for index, block in enumerate(twin.network.train().blocks):
        y, soft = block.gated(x)
        energy = F.adaptive_avg_pool2d(y.square(), block.patches).flatten(1)  # its patches divide the map
        loss = F.cross_entropy(energy @ block.weight.T, labels)
        total = loss + 0.75 * batch_shaping_loss(soft, reduction="mean")
        names, parameters = zip(*block.named_parameters(), strict=True)
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        expected |= {f"_blocks.{index}.{name}": gradient for name, gradient in zip(names, gradients, strict=True)}
        x = block.propagate(y.detach())
    before = {name: parameter.detach().clone() for name, parameter in learner.network.named_parameters()}
    learner.train_step(images, labels)
    for name, parameter in learner.network.named_parameters():
        if name.startswith("_blocks"):
            gradient = torch.zeros_like(parameter) if expected[name] is None else expected[name]
            torch.testing.assert_close(parameter, before[name] - 0.1 * gradient, rtol=1e-4, atol=1e-6)


def test_a_closed_channel_stays_closed_after_the_normalisation():
    block = make().network.eval().blocks[0]
    block.channel_gate.head.bias.data = torch.tensor([9.0, -9.0, 9.0, 9.0, -9.0, 9.0])
    block.channel_gate.head.weight.data.zero_()
    y = block.activate(batch()[0])
    x = block.propagate(y)
    assert (y.abs().amax((0, 2, 3)) > 0).tolist() == [True, False, True, True, False, True]
    assert (x.abs().amax((0, 2, 3)) > 0).tolist() == [True, False, True, True, False, True]


def test_work_by_hand():
    learner = make()
    images, _ = batch(2)
    for block, share in zip(learner.network.blocks, (0.5, 0.25, 1.0), strict=True):
        count = len(block.channel_gate.head.bias)
        block.channel_gate.head.weight.data.zero_()
        block.channel_gate.head.bias.data = torch.where(torch.arange(count) < share * count, 1.0, -1.0)
    gates = sum(inputs * 16 + 16 * outputs for inputs, outputs in ((1, 6), (6, 8), (8, 12)))
    convolutions = 9 * 64 * 1 * 3 + 9 * 16 * 3 * 2 + 9 * 16 * 2 * 12
    assert learner.executed_macs(images).tolist() == [gates + convolutions] * 2
    assert learner.executed_layers(images).tolist() == [[0.5, 0.25, 1.0]] * 2
    assert [layer.sum().item() for layer in learner.layer_values([(images, None)])["open"]] == [3, 2, 12]


def test_work_of_images_whose_gates_differ_is_of_each_by_itself(monkeypatch):
    learner = make()
    of_images = ((3, 2, 12), (6, 8, 3))
    for place, block in enumerate(learner.network.blocks):
        opened = torch.tensor([channels[place] for channels in of_images])
        logits = torch.where(torch.arange(len(block.channel_gate.head.bias)) < opened[:, None], 1.0, -1.0)
        monkeypatch.setattr(block.channel_gate, "logits", lambda _, logits=logits: logits)
    gates = sum(inputs * 16 + 16 * outputs for inputs, outputs in ((1, 6), (6, 8), (8, 12)))
    assert learner.executed_macs(batch(2)[0]).tolist() == [
        gates + 9 * (64 * first + 16 * first * second + 16 * second * third) for first, second, third in of_images
    ]


def test_gates_have_no_weight_decay():
    plain, decayed = make(learning_rate=0.1), make(learning_rate=0.1, weight_decay=0.5)
    for learner in (plain, decayed):
        learner.train_step(*batch())
    others = dict(decayed.network.named_parameters())
    of_blocks = {name: value for name, value in plain.network.named_parameters() if name.startswith("_blocks")}
    assert all(torch.equal(value, others[name]) for name, value in of_blocks.items() if "gate" in name)
    assert not any(torch.equal(value, others[name]) for name, value in of_blocks.items() if "conv.weight" in name)


def test_a_strong_l0_loss_closes_gates():
    learner = make(l0_weight=20.0, l0_from=0.0, l0_until=0.0, shaping_weight=0.0, learning_rate=0.2)
    images, labels = batch(64)
    before = learner.executed_macs(images).mean()
    for _ in range(60):
        learner.train_step(images, labels)
    assert learner.executed_macs(images).mean() < 0.5 * before


def test_a_plan_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="plan"):
        make(plan="M,8")
