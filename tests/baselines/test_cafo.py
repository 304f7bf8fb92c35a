from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from baselines.cafo import CaFoLearner, CaFoSettings

TASK = SimpleNamespace(shape=(1, 8, 8), classes=3)
BUDGET = SimpleNamespace(epochs=1, steps_per_epoch=5)


def make(**settings):
    options = {
        "channels": (4, 6), "optimiser": "sgd", "momentum": 0.0, "schedule": "constant", "learning_rate": 0.1,
    }  # fmt: skip
    return CaFoLearner(
        TASK, CaFoSettings(**options | settings), BUDGET, torch.device("cpu"), torch.Generator().manual_seed(0)
    )


def batch(size=12):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 1, 8, 8, generator=generator), torch.randint(3, (size,), generator=generator)


def test_two_steps_equal_plain_gradient_descent_and_blocks_stay_as_they_are():
    learner = make()
    images, labels = batch()
    kernels = [(block.conv.weight.clone(), block.conv.bias.clone()) for block in learner.blocks]
    read_outs = [torch.zeros(3, 4 * 16), torch.zeros(3, 6 * 4)]
    for _ in range(2):
        losses = learner.train_step(images, labels)
        x = images
        for index, (weight, bias) in enumerate(kernels):
            x = F.max_pool2d(torch.relu(F.conv2d(x, weight, bias, padding=1)), 2)
            mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
            x = (x - mean) / (variance + 1e-4).sqrt()
            shares = (x.flatten(1) @ read_outs[index].T).softmax(1)
            expected = -shares[range(12), labels].log().mean()
            torch.testing.assert_close(losses[f"layer{index + 1}"], expected)
            gradient = (shares - F.one_hot(labels, 3)).T @ x.flatten(1) / 12
            read_outs[index] = read_outs[index] - 0.1 * gradient
            torch.testing.assert_close(learner.blocks[index].classifier.weight, read_outs[index])
    for block, (weight, bias) in zip(learner.blocks, kernels, strict=True):
        assert torch.equal(block.conv.weight, weight)
        assert torch.equal(block.conv.bias, bias)


def test_predictions_add_probabilities_or_read_the_last_block():
    learner = make()
    images, labels = batch()
    for _ in range(3):
        learner.train_step(images, labels)
    layers = learner.layer_logits(images)
    mean = (layers[0].softmax(1) + layers[1].softmax(1)) / 2
    torch.testing.assert_close(learner.predict(images, "sum").exp(), mean)
    torch.testing.assert_close(learner.predict(images, "last"), layers[1])
    assert not learner.blocks[0].conv.weight.requires_grad
    assert [p.shape for p in learner.parameters()] == [(3, 64), (3, 24)]
    assert len(list(learner.parameters("sum"))) == 6
    assert len(list(learner.parameters("last"))) == 5


def test_more_blocks_than_an_image_can_be_halved_are_refused():
    with pytest.raises(ValueError, match="4 blocks pool images of 8 x 8 pixels to nothing"):
        make(channels=(4, 4, 4, 4))
