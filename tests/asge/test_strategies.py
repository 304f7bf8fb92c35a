import pytest
import torch

from asge import strategies
from asge.network import ASGENetwork
from bench.measure import flops


@pytest.fixture
def network():
    net = ASGENetwork((1, 8, 8), 4, plan="6,M,8,12", generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    for linear in (net.last, net.fusion):
        torch.nn.init.normal_(linear.weight, generator=generator)
        torch.nn.init.normal_(linear.bias, generator=generator)
    return net


@pytest.fixture
def images():
    return torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def test_each_strategy_equals_its_formula(network, images):
    y1, y2, y3 = network.activations(images)
    gap = [y.flatten(2).mean(2) for y in (y1, y2, y3)]
    last = gap[2] @ network.last.weight.T + network.last.bias
    fusion = torch.cat(gap[1:], 1) @ network.fusion.weight.T + network.fusion.bias
    torch.testing.assert_close(strategies.predict(network, images, "last"), last)
    torch.testing.assert_close(strategies.predict(network, images, "fusion"), fusion)
    for depth, y in enumerate((y1, y2, y3)):
        network.best_layer = depth
        expected = network.blocks[depth].local_logits(y)
        torch.testing.assert_close(strategies.predict(network, images, "best"), expected)
        torch.testing.assert_close(strategies.layer_logits(network, images)[depth], expected)


def test_best_runs_no_layer_after_the_chosen_one(network, images):
    convolutions = [2 * 5 * 64 * 6 * 9, 2 * 5 * 16 * 8 * 6 * 9, 2 * 5 * 16 * 12 * 8 * 9]
    for depth in range(3):
        network.best_layer = depth
        projection = 2 * 5 * network.blocks[depth].weight.numel()
        counted = flops.count(lambda: strategies.predict(network, images, "best"))
        patches = network.blocks[depth].patches
        assert counted == sum(convolutions[: depth + 1]) + projection, (depth, patches)


def test_parameters_of_a_strategy_are_those_it_runs(network):
    def count(strategy):
        return sum(p.numel() for p in strategies.parameters(network, strategy))

    convolutions = [6 * 9 + 6, 8 * 6 * 9 + 8, 12 * 8 * 9 + 12]
    assert count("last") == sum(convolutions) + 12 * 4 + 4
    assert count("fusion") == sum(convolutions) + 20 * 4 + 4
    network.best_layer = 0
    assert count("best") == convolutions[0] + 4 * 6 * network.blocks[0].patches ** 2 + 4


def test_unknown_strategy_names_the_valid_ones(network, images):
    with pytest.raises(ValueError, match="last, fusion, best"):
        strategies.predict(network, images, "first")


def test_what_a_strategy_predicts_with_includes_a_trained_layer_norm():
    generator = torch.Generator().manual_seed(0)
    plain, affine = (
        ASGENetwork((1, 8, 8), 4, plan="6,M,8", affine=trained, generator=generator) for trained in (False, True)
    )
    for strategy in strategies.STRATEGIES:
        sizes = [sum(p.numel() for p in strategies.parameters(network, strategy)) for network in (plain, affine)]
        assert sizes[1] == sizes[0] + 2 * 6
