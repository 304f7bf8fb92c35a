from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from baselines.conditional import aig
from baselines.conditional.aig import AIGSettings

TASK = SimpleNamespace(shape=(3, 16, 16), classes=10)
BUDGET = SimpleNamespace(epochs=2, steps_per_epoch=4)


def build(**settings):
    made = AIGSettings(architecture="cifar-8", schedule="constant", **settings)
    return aig.build(TASK, made, BUDGET, torch.device("cpu"), torch.Generator().manual_seed(0))


def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(8, 3, 16, 16, generator=generator), torch.randint(10, (8,), generator=generator)


@pytest.mark.parametrize(("reduction", "reduce"), [("mean", torch.mean), ("sum", torch.sum)])
def test_a_step_is_that_of_plain_autograd(reduction, reduce):
    images, labels = batch()
    learner, twin = (build(rate_reduction=reduction, target=0.4, weight_decay=0.01) for _ in range(2))
    network = twin.network.train()
    outcome = network(images.contiguous(memory_format=torch.channels_last))
    rates = torch.stack([gates[:, 0].mean() for gates in outcome.gates])
    rate = 2.0 * reduce((0.4 - rates) ** 2)
    loss = F.cross_entropy(outcome.logits, labels)
    gradients = torch.autograd.grad(loss + rate, list(network.parameters()))
    expected = dict(zip([name for name, _ in network.named_parameters()], gradients, strict=True))
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}

    losses = learner.train_step(images, labels)

    torch.testing.assert_close(losses, {"loss": loss.detach(), "rate": rate.detach()})
    for name, parameter in learner.network.named_parameters():
        decay = 0.0 if "block_gate" in name else 0.01 * before[name]
        # The first step of SGD with momentum is plain.
        torch.testing.assert_close(parameter, before[name] - 0.1 * (expected[name] + decay))


def test_targets_of_the_published_networks():
    assert aig.targets(AIGSettings(architecture="cifar-110", target=0.6)) == [0.6] * 54
    of_50 = aig.targets(AIGSettings(architecture="imagenet-50", target=0.4))
    assert of_50 == [1, 1, 0.8, 1, 0.4, 0.4, 0.4, 1, 0.4, 0.4, 0.4, 0.4, 0.4, 1, 0.7, 1]


def test_targets_block_by_block_and_the_mean_is_over_all_blocks():
    learner = build(block_targets=(1.0, 0.5, 0.2), rate_weight=3.0)
    assert [block.block_gate is None for block in learner.network.blocks] == [True, False, False]
    images, labels = batch()
    twin = build(block_targets=(1.0, 0.5, 0.2))
    rates = twin.network.train()(images.contiguous(memory_format=torch.channels_last)).executed.mean(0)
    expected = 3.0 * ((0.5 - rates[1]) ** 2 + (0.2 - rates[2]) ** 2) / 3  # the block that always runs counts
    torch.testing.assert_close(learner.train_step(images, labels)["rate"], expected.detach())
    with pytest.raises(ValueError, match="cifar-8 has 3 blocks, got 1 targets"):
        build(block_targets=(0.5,))


def test_predictions_sample_only_where_they_are_told_to():
    images, _ = batch()
    certain, drawn = build(), build(evaluation="sample")
    assert torch.equal(certain.executed_layers(images), certain.executed_layers(images))
    assert certain.executed_layers(images).mean() == 1
    many = images.repeat(200, 1, 1, 1)
    executed = drawn.executed_layers(many)
    assert executed.mean().item() == pytest.approx(0.87, abs=0.02)  # the probability at first
    assert torch.equal(executed, drawn.executed_layers(many))  # so that work and accuracy are of the same draw
    assert not torch.equal(executed[:, 0], executed[:, 1])


def test_the_published_reruns_are_of_two_networks():
    rerun = {"architecture": "cifar-110", "width": 1.0, "gating": "blocks", "target": 0.7, "block_targets": []}
    assert aig.ConvNetAIG.published(rerun) == [("ConvNet-AIG", "ResNet-110 t=0.7 user rerun")]
    assert aig.ConvNetAIG.published(rerun | {"architecture": "cifar-20"}) == []
    of_50 = aig.ConvNetAIG.published(rerun | {"architecture": "imagenet-50"})
    assert of_50 == [("ConvNet-AIG", "ResNet-50 t=0.7 user rerun")]
    assert aig.ConvNetAIG.published(rerun | {"block_targets": [1.0]}) == []


def test_training_brings_the_rate_to_its_target():
    learner = build(target=0.3, learning_rate=0.05, rate_weight=20.0)
    images, labels = batch()
    for _ in range(60):
        learner.train_step(images, labels)
    learner.network.train()
    with torch.no_grad():
        rates = torch.stack([learner.network(images).executed.mean() for _ in range(20)])
    assert rates.mean().item() == pytest.approx(0.3, abs=0.06)


def test_without_gates_there_is_no_loss_of_gates_and_the_work_is_the_same_for_all():
    learner = build(gating="none")
    images, labels = batch()
    assert set(learner.train_step(images, labels)) == {"loss"}
    assert len(learner.executed_macs(images).unique()) == 1
    assert learner.layer_values([(images, labels)]) == {}


def test_a_block_that_always_runs_keeps_its_place_among_open_shares():
    learner = build(block_targets=(0.5, 1.0, 0.2))
    images, labels = batch()
    for block, bias in ((0, [0.0, 1.0]), (2, [1.0, 0.0])):
        gate = learner.network.blocks[block].block_gate
        gate.head.weight.data.zero_()
        gate.head.bias.data = torch.tensor(bias)
    assert [share.tolist() for share in learner.layer_values([(images, labels)])["open"]] == [[1.0], [1.0], [0.0]]


def test_open_shares_by_hand():
    learner = build()
    first = learner.network.blocks[0].block_gate
    first.head.weight.data.zero_()
    first.head.bias.data = torch.tensor([1.0, 0.0])
    images, labels = batch()
    values = learner.layer_values([(images, labels), (images[:3], labels[:3])])["open"]
    assert [tuple(layer.shape) for layer in values] == [(1,)] * 3
    assert values[0].item() == 0.0
    assert learner.executed_layers(images)[:, 0].tolist() == [0.0] * 8
