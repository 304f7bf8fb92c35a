from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from asge.block import normalize_by_layer
from asge.layers.gating import GatedChannelTransform
from asge.network import ASGENetwork
from baselines.backprop import BackpropLearner, BackpropSettings, build_network
from bench.measure import flops
from bench.measure.memory import live_bytes

TASK = SimpleNamespace(shape=(1, 8, 8), classes=4)
BUDGET = SimpleNamespace(epochs=1, steps_per_epoch=10)


def make(**settings):
    options = {"plan": "6,M,8,12", "optimiser": "sgd", "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}
    generator = torch.Generator().manual_seed(0)
    return BackpropLearner(TASK, BackpropSettings(**options | settings), BUDGET, torch.device("cpu"), generator)


def batch(size=16):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 1, 8, 8, generator=generator), torch.randint(4, (size,), generator=generator)


@pytest.mark.parametrize("affine", [False, True])
def test_a_step_equals_plain_gradient_descent_through_all_layers(affine):
    learner = make(learning_rate=0.1, affine=affine)
    for unit in learner.network.blocks[1:] if affine else ():
        torch.nn.init.normal_(unit.gamma, generator=torch.Generator().manual_seed(4))
        torch.nn.init.normal_(unit.beta, generator=torch.Generator().manual_seed(5))
    torch.nn.init.normal_(learner.network.classifier.weight, generator=torch.Generator().manual_seed(3))
    images, labels = batch()
    parameters = [p.detach().clone().requires_grad_() for p in learner.network.parameters()]
    loss = learner.train_step(images, labels)["loss"]

    names = [name for name, _ in learner.network.named_parameters()]
    p = dict(zip(names, parameters, strict=True))
    x = images
    for index in range(3):
        weight, bias = p[f"_blocks.{index}.conv.weight"], p[f"_blocks.{index}.conv.bias"]
        if affine and index > 0:
            x = x * p[f"_blocks.{index}.gamma"] + p[f"_blocks.{index}.beta"]
        y = torch.relu(F.conv2d(x, weight, bias, padding=1))
        x = (F.avg_pool2d(y**2, 2) + 1e-30).sqrt() if index == 0 else y
        x = F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],)).permute(0, 3, 1, 2)
    expected = F.cross_entropy(F.linear(y.mean((2, 3)), p["classifier.weight"], p["classifier.bias"]), labels)
    torch.testing.assert_close(loss, expected.detach())
    for new, old, gradient in zip(
        learner.network.parameters(), parameters, torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(new, old - 0.1 * gradient, rtol=1e-4, atol=1e-5)


def test_a_step_of_the_vgg_topology_equals_plain_gradient_descent():
    learner = make(learning_rate=0.1, topology="vgg", plan="6,M,8", hidden=(5,), pooling="max")
    torch.nn.init.normal_(learner.network.classifier.weight, generator=torch.Generator().manual_seed(3))
    learner.network.double()
    images, labels = batch()
    images = images.double()
    parameters = [p.detach().clone().requires_grad_() for p in learner.network.parameters()]
    loss = learner.train_step(images, labels)["loss"]

    rest, x = iter(parameters), images
    for index in range(3):
        weight, bias, scale, shift = (next(rest) for _ in range(4))
        z = F.conv2d(x, weight, bias, padding=1) if index < 2 else x.flatten(1) @ weight.T + bias
        over, shape = ((0, 2, 3), (1, -1, 1, 1)) if index < 2 else ((0,), (1, -1))
        mean, variance = z.mean(over, keepdim=True), z.var(over, keepdim=True, unbiased=False)
        x = torch.relu((z - mean) / (variance + 1e-5).sqrt() * scale.view(shape) + shift.view(shape))
        x = F.max_pool2d(x, 2) if index == 0 else x
    weight, bias = rest
    expected = F.cross_entropy(x @ weight.T + bias, labels)
    torch.testing.assert_close(loss.double(), expected.detach())
    for new, old, gradient in zip(
        learner.network.parameters(), parameters, torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(new, old - 0.1 * gradient, rtol=1e-8, atol=1e-10)


def test_its_convolutions_are_those_of_asge_on_the_same_plan():
    ours = [unit.conv.weight.shape for unit in make().network.blocks]
    asge = ASGENetwork(TASK.shape, 4, plan="6,M,8,12", generator=torch.Generator().manual_seed(0))
    assert ours == [block.unit.conv.weight.shape for block in asge.blocks]
    for unit, block in zip(make().network.blocks, asge.blocks, strict=True):
        y = torch.rand(2, unit.conv.out_channels, 4, 4)
        assert torch.equal(unit.propagate(y), block.propagate(y))


def test_a_step_costs_three_times_the_forward_less_the_first_input_gradient():
    learner = make()
    images, labels = batch()
    first, rest, linear = 2 * 16 * 9 * 64 * 6, 2 * 16 * 9 * (16 * 8 * 6 + 16 * 12 * 8), 2 * 16 * 4 * 12
    assert flops.count(lambda: learner.train_step(images, labels)) == 2 * first + 3 * rest + 3 * linear


def test_a_batch_in_parts_is_the_same_step_with_less_memory():
    whole, parts = make(learning_rate=0.1), make(learning_rate=0.1, accumulate=4)
    images, labels = batch(18)  # in parts of 5, 5, 5 and 3
    losses = [learner.train_step(images, labels)["loss"] for learner in (whole, parts)]
    torch.testing.assert_close(*losses)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    peaks = [live_bytes(lambda made=made: made.train_step(images, labels)).peak for made in (whole, parts)]
    assert peaks[1] < peaks[0] / 2


def test_pooling_is_that_of_the_setting():
    unit = make(pooling="max").network.blocks[0]
    y = unit.activate(batch()[0])
    torch.testing.assert_close(unit.propagate(y), normalize_by_layer(F.max_pool2d(y, 2)))


def gates_of(learner):
    return [module for module in learner.network.modules() if isinstance(module, GatedChannelTransform)]


@pytest.mark.parametrize(
    ("where", "topology", "channels"),
    [("every", "asge", [1, 6, 8]), ("block", "asge", [1, 6]), ("every", "vgg", [1, 6, 8]), ("block", "vgg", [1, 6])],
)
def test_gates_stand_before_convolutions_and_learn(where, topology, channels):
    learner = make(gating="gct", gating_where=where, topology=topology, learning_rate=0.1)
    plain = make(topology=topology)
    images, labels = batch()
    assert [len(gate.alpha) for gate in gates_of(learner)] == channels
    assert torch.equal(learner.predict(images, "logits"), plain.predict(images, "logits"))
    learner.train_step(images, labels)
    learner.train_step(images, labels)  # the classifier, zero at first, passes no gradient back
    shown = learner.layer_values([])["gamma"]
    assert [torch.equal(one, gate.gamma) for one, gate in zip(shown, gates_of(learner), strict=True)]
    for gate in gates_of(learner)[1:]:
        assert bool(gate.gamma.any())
        assert bool(gate.beta.any())


def test_squeeze_and_excitation_stands_at_the_same_places():
    learner = make(gating="se", gating_where="block")
    assert [type(block.gate).__name__ for block in learner.network.blocks] == ["SEModule", "SEModule", "NoneType"]


def test_gates_and_pools_in_a_model_of_a_library():
    task = SimpleNamespace(shape=(3, 64, 64), classes=4)
    settings = BackpropSettings(model="timm:resnet18", gating="gct-l1", gating_where="block", library_pools="soft")
    learner = BackpropLearner(task, settings, BUDGET, torch.device("cpu"), torch.Generator().manual_seed(0))
    assert len(gates_of(learner)) == 8
    assert learner.network.model.maxpool.kind == "soft"
    losses = learner.train_step(torch.randn(2, 3, 64, 64), torch.tensor([0, 1]))
    assert torch.isfinite(losses["loss"])


def test_gates_alone_are_trained_at_first():
    learner = make(topology="vgg", gating="gct", gate_epochs=1, learning_rate=0.1)
    torch.nn.init.normal_(learner.network.classifier.weight, generator=torch.Generator().manual_seed(3))
    names = {id(parameter) for gate in gates_of(learner) for parameter in gate.parameters()}
    before = {key: value.clone() for key, value in learner.network.state_dict().items()}
    learner.begin_epoch(0)
    learner.train_step(*batch())
    moved = {key for key, value in learner.network.state_dict().items() if not torch.equal(value, before[key])}
    assert moved
    assert all(id(dict(learner.network.named_parameters())[key]) in names for key in moved)
    learner.begin_epoch(1)
    learner.train_step(*batch())
    moved = {key for key, value in learner.network.state_dict().items() if not torch.equal(value, before[key])}
    assert "classifier.weight" in moved
    assert "_blocks.0.norm.running_mean" in moved


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"library_pools": "soft"}, "library_pools has no effect with model 'stack'"),
        ({"gating_where": "block"}, "gating_where has no effect with gating 'none'"),
        ({"gate_epochs": 1}, "gate_epochs has no effect"),
        ({"gating": "se", "gate_activation": "elu"}, "gate_activation has no effect with gating 'se'"),
    ],
)
def test_settings_without_effect_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build_network(TASK, BackpropSettings(**{"plan": "6,8"} | settings), torch.Generator())


def test_a_librarys_model_sets_aside_what_a_stack_is_made_of():
    given = BackpropSettings(model="timm:resnet18", plan="6,8", pooling="max", learning_rate=0.1)
    assert given == BackpropSettings(model="timm:resnet18", learning_rate=0.1)


@pytest.mark.parametrize(
    "network", [{}, {"topology": "vgg", "hidden": (9,)}, {"model": "torchvision:resnet18", "plan": "small"}]
)
def test_gates_join_a_network_that_has_learned_without_them(network):
    plain = make(**network)
    gated, same = (make(**network, gating="gct", gating_where="block", gate_epochs=1) for _ in range(2))
    images, labels = batch()
    plain.train_step(images, labels)
    gated.begin_with(plain.state_dict())
    # GCT is the identity at first: the network predicts what it predicted.
    torch.testing.assert_close(gated.predict(images, "logits"), plain.predict(images, "logits"))
    gated.begin_epoch(0)
    gated.train_step(images, labels)
    same.begin_with(gated.state_dict())
    assert torch.equal(same.predict(images, "logits"), gated.predict(images, "logits"))
    with pytest.raises(ValueError, match="it is another network: "):
        plain.begin_with(gated.state_dict())


@pytest.mark.parametrize("more", [{}, {"gating": "gct", "affine": True, "accumulate": 3}])
def test_blocks_that_are_computed_again_give_the_same_step_in_less_memory(more):
    images, labels = batch(48)
    learners = [
        make(learning_rate=0.1, plan="8,8,8,8,8,8", **more, **again) for again in ({}, {"checkpointing": "blocks"})
    ]
    for learner in learners:
        torch.nn.init.normal_(learner.network.classifier.weight, generator=torch.Generator().manual_seed(3))
    peaks, losses = [], []
    for learner in learners:
        learner.train_step(images, labels)  # what an optimiser keeps is there from now on
        losses.append(learner.train_step(images, labels)["loss"])
        peaks.append(live_bytes(lambda made=learner: made.train_step(images, labels)).peak)
    assert torch.equal(*losses)
    for one, other in zip(*(learner.network.parameters() for learner in learners), strict=True):
        assert torch.equal(one, other)
    assert peaks[1] < 0.8 * peaks[0]


def test_only_blocks_without_chance_or_statistics_are_computed_again():
    with pytest.raises(ValueError, match="checkpointing"):
        make(topology="vgg", checkpointing="blocks")
