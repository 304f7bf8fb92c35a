from types import SimpleNamespace

import pytest
import torch

from baselines.backprop import BackpropSettings
from baselines.stack import Stack
from baselines.vgg import VGGBlock
from bench import methods
from bench.methods import settings


def vgg(plan, hidden=(), dropout=0.0, shape=(3, 32, 32)):
    made = BackpropSettings(topology="vgg", plan=plan, hidden=hidden, pooling="max", dropout=dropout)
    return Stack(shape, 10, made, generator=torch.Generator().manual_seed(0))


def test_vgg8b_and_vgg11b_have_the_published_layers():
    vgg8b, vgg11b = vgg("vgg8b", (1024,)), vgg("vgg11b", (1024,))
    assert vgg8b.activation_shapes == [
        (128, 32, 32), (256, 32, 32), (256, 16, 16), (512, 16, 16), (512, 8, 8), (512, 4, 4), (1024,)
    ]  # fmt: skip
    assert vgg11b.activation_shapes == [
        (128, 32, 32), (128, 32, 32), (128, 32, 32), (256, 32, 32), (256, 16, 16), (512, 16, 16), (512, 8, 8),
        (512, 8, 8), (512, 4, 4), (1024,)
    ]  # fmt: skip
    assert vgg8b.blocks[-1].transform.in_features == 512 * 2 * 2
    convolutions = 9 * (3 * 128 + 128 * 256 + 256 * 256 + 256 * 512 + 2 * 512 * 512)
    biases_and_norms = 3 * (128 + 256 + 256 + 512 + 512 + 512 + 1024)
    assert sum(p.numel() for p in vgg8b.parameters()) == convolutions + 2048 * 1024 + biases_and_norms + 10250


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "changes"),
    [("local-error", {"signal": "pred"}), ("local-error", {"signal": "predsim"}), ("backprop", {"topology": "vgg"})],
)
def test_vgg8b_takes_steps_that_reach_every_weight(method, changes):
    made = settings.make(method, {"plan": "vgg8b", "hidden": [1024], "pooling": "max", **changes})
    task, budget = SimpleNamespace(shape=(3, 32, 32), classes=10), SimpleNamespace(epochs=1, steps_per_epoch=8)
    learner = methods.get(method).build(task, made, budget, torch.device("cpu"), torch.Generator().manual_seed(0))
    weights = [parameter for parameter in learner.parameters() if parameter.dim() > 1]
    before = [weight.detach().clone() for weight in weights]
    learner.begin_epoch(0)
    for _ in range(2):  # read-outs are zero at first, and hand nothing back
        losses = learner.train_step(torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3]))
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert not any(torch.equal(start, weight) for start, weight in zip(before, weights, strict=True))
    assert learner.predict(torch.randn(2, 3, 32, 32), "logits").shape == (2, 10)


def test_logits_are_what_plain_modules_give():
    network = vgg("4,M,6,M", (5,), shape=(1, 8, 8)).eval()
    torch.nn.init.normal_(network.classifier.weight)
    x = images = torch.randn(3, 1, 8, 8)
    for index, block in enumerate(network.blocks):
        x = torch.relu(block.norm(block.transform(x.flatten(1) if index == 2 else x)))
        x = torch.nn.functional.max_pool2d(x, 2) if index < 2 else x
    torch.testing.assert_close(network(images), network.classifier(x))


def test_dropout_takes_whole_channels_and_keeps_the_mean():
    block = VGGBlock(
        torch.nn.Conv2d(1, 50, 3, padding=1),
        torch.nn.BatchNorm2d(50),
        dropout=0.3,
        generator=torch.Generator().manual_seed(0),
    )
    dropped = block.propagate(torch.ones(200, 50, 2, 2))
    assert set(dropped.flatten(2).std(2).flatten().tolist()) == {0.0}
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(1 / 0.7).item()}
    assert abs(dropped.mean() - 1) < 0.03
    block.eval()
    assert torch.equal(block.propagate(torch.ones(2, 50, 2, 2)), torch.ones(2, 50, 2, 2))


def test_what_is_dropped_comes_from_the_generator():
    def outputs(seed):
        torch.manual_seed(seed)
        network = vgg("4,M,6", dropout=0.5, shape=(1, 8, 8)).train()
        torch.nn.init.ones_(network.classifier.weight)
        return network(torch.ones(3, 1, 8, 8))

    assert torch.equal(outputs(0), outputs(1))
