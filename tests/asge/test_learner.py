from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from asge import ASGELearner, ASGESettings

TASK = SimpleNamespace(shape=(1, 8, 8), classes=4)
BUDGET = SimpleNamespace(epochs=1, steps_per_epoch=10)


def make(**settings):
    options = {"plan": "6,M,8,12", "optimiser": "sgd", "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}
    generator = torch.Generator().manual_seed(0)
    return ASGELearner(TASK, ASGESettings(**options | settings), BUDGET, torch.device("cpu"), generator)


def batch(size=16):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 1, 8, 8, generator=generator), torch.randint(4, (size,), generator=generator)


def test_a_step_equals_plain_gradient_descent_on_every_local_loss():
    learner = make(learning_rate=0.1)
    network = learner.network
    images, labels = batch()
    weights = [(b.unit.conv.weight.detach().clone(), b.unit.conv.bias.detach().clone()) for b in network.blocks]
    losses = learner.train_step(images, labels)

    x = images
    for index, ((weight, bias), block) in enumerate(zip(weights, network.blocks, strict=True)):
        weight.requires_grad_()
        bias.requires_grad_()
        y = torch.relu(F.conv2d(x, weight, bias, padding=1))
        side = y.shape[2] // block.patches
        g = F.avg_pool2d(y**2, side).flatten(1)
        loss = F.cross_entropy(g @ block.weight.T, labels)
        torch.testing.assert_close(losses[f"layer{index + 1}"], loss.detach())
        grad_weight, grad_bias = torch.autograd.grad(loss, (weight, bias))
        torch.testing.assert_close(block.unit.conv.weight, weight - 0.1 * grad_weight)
        torch.testing.assert_close(block.unit.conv.bias, bias - 0.1 * grad_bias)
        y = y.detach()
        if block.unit.pool > 1:
            y = F.avg_pool2d(y**2, block.unit.pool).sqrt()
        x = F.layer_norm(y.permute(0, 2, 3, 1), (y.shape[1],)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("step", ["fast", "autograd"])
def test_no_gradient_crosses_a_block(step):
    """A block whose projection is zero has no gradient, and the others' steps are as if it had one."""
    whole = make(learning_rate=0.1, step=step)
    whole.train_step(*batch())
    for mute in range(3):
        learner = make(learning_rate=0.1, step=step)
        learner.network.blocks[mute].weight.zero_()
        before = learner.network.blocks[mute].unit.conv.weight.detach().clone()
        learner.train_step(*batch())
        for index, (block, trained) in enumerate(zip(learner.network.blocks, whole.network.blocks, strict=True)):
            expected = before if index == mute else trained.unit.conv.weight
            assert torch.equal(block.unit.conv.weight, expected)


def test_the_projection_stays_as_it_was_drawn():
    learner = make(learning_rate=0.1)
    before = [block.weight.clone() for block in learner.network.blocks]
    for _ in range(3):
        learner.train_step(*batch())
    for block, old in zip(learner.network.blocks, before, strict=True):
        assert torch.equal(block.weight, old)


def test_best_layer_is_the_most_accurate_on_the_batches_it_is_given():
    learner = make(learning_rate=0.1)
    images, _ = batch(64)
    for wanted in range(3):
        labels = learner.layer_logits(images)[wanted].argmax(1)
        learner.finish([(images[:40], labels[:40]), (images[40:], labels[40:])])
        assert learner.network.best_layer == wanted
        assert torch.equal(learner.predict(images, "best").argmax(1), labels)


def test_a_step_costs_twice_the_forward_convolutions():
    from bench.measure import flops

    learner = make(learning_rate=0.1, affine=False)
    images, labels = batch()
    forward = 2 * 16 * 9 * (64 * 6 + 16 * 8 * 6 + 16 * 12 * 8)
    projections = sum(2 * 16 * block.weight.numel() for block in learner.network.blocks)
    linear = 2 * 16 * 4 * (12 + 20)
    # projections: forward and the gradient to goodness; classifiers: forward and the weight gradient
    assert flops.count(lambda: learner.train_step(images, labels)) == 2 * forward + 2 * projections + 2 * linear


def test_classifiers_afterwards_learn_when_the_blocks_no_longer_do():
    options = ASGESettings(plan="6,M,8,12", classifier_epochs=1)
    budget = SimpleNamespace(epochs=3, steps_per_epoch=2)
    learner = ASGELearner(TASK, options, budget, torch.device("cpu"), torch.Generator().manual_seed(0))
    network = learner.network
    for epoch in range(3):
        blocks, classifiers = _copies(network.blocks), _copies([network.last, network.fusion])
        learner.begin_epoch(epoch)
        for _ in range(2):
            losses = learner.train_step(*batch())
        assert _equal(blocks, network.blocks) == (epoch == 2)
        assert _equal(classifiers, [network.last, network.fusion]) == (epoch < 2)
        assert list(losses) == (["last", "fusion"] if epoch == 2 else ["layer1", "layer2", "layer3"])
    assert losses["last"] > float(F.cross_entropy(learner.predict(batch()[0], "last"), batch()[1]))


def test_random_blocks_stay_as_they_were_drawn_while_the_classifiers_learn():
    learner = make(blocks="random", learning_rate=0.1, affine=True)
    network = learner.network
    blocks, before = _copies(network.blocks), float(F.cross_entropy(learner.predict(batch()[0], "fusion"), batch()[1]))
    for _ in range(10):
        losses = learner.train_step(*batch())
    assert _equal(blocks, network.blocks)
    assert list(losses) == ["last", "fusion"]
    assert float(losses["fusion"]) < before
    learner.finish([batch()])
    with pytest.raises(ValueError, match="the classifiers train in every epoch"):
        make(blocks="random", classifier_epochs=1, learning_rate=0.1)


def _copies(modules):
    return [parameter.detach().clone() for module in modules for parameter in module.parameters()]


def _equal(copies, modules):
    return all(torch.equal(old, new) for old, new in zip(copies, _copies(modules), strict=True))


def test_the_plan_for_imagenet_takes_a_step():
    task, options = SimpleNamespace(shape=(3, 224, 224), classes=1000), ASGESettings(plan="imagenet")
    learner = ASGELearner(task, options, BUDGET, torch.device("cpu"), torch.Generator().manual_seed(0))
    losses = learner.train_step(torch.randn(2, 3, 224, 224), torch.tensor([0, 999]))
    assert len(losses) == 9
    assert all(loss.isfinite() for loss in losses.values())
    assert learner.predict(torch.randn(2, 3, 224, 224), "fusion").shape == (2, 1000)


def test_blocks_go_on_beyond_the_budget():
    learner = make()
    learner.begin_epoch(BUDGET.epochs)
    assert "layer1" in learner.train_step(*batch())


def test_classifiers_afterwards_go_on_where_they_were_stopped():
    def build():
        options = ASGESettings(plan="6,M,8,12", classifier_epochs=2)
        budget = SimpleNamespace(epochs=3, steps_per_epoch=2)
        return ASGELearner(TASK, options, budget, torch.device("cpu"), torch.Generator().manual_seed(0))

    def train(learner, epochs):
        for epoch in epochs:
            learner.begin_epoch(epoch)
            for _ in range(2):
                learner.train_step(*batch())

    straight, stopped, resumed = build(), build(), build()
    train(straight, range(3))
    train(stopped, range(2))
    resumed.load_state_dict(stopped.state_dict())
    train(resumed, range(2, 3))
    assert _equal(_copies([straight.network]), [resumed.network])


def test_blocks_need_an_epoch_too():
    with pytest.raises(ValueError, match="classifier_epochs must leave an epoch to the blocks: it is 1, of 1 epochs"):
        make(classifier_epochs=1)
