import math

import pytest
import timm
import torch
import torchvision
from torch import nn

from asge.layers.gating import Gated, GatedChannelTransform, add_gct, make_gate, parameter_groups


def filled(channels, **options):
    gct = GatedChannelTransform(channels, **options).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in gct.parameters():
        nn.init.normal_(parameter, generator=generator)
    return gct


@pytest.mark.parametrize("mode", ["l2", "l1"])
def test_it_is_the_identity_at_first(mode):
    x = torch.randn(2, 5, 3, 4)
    assert torch.equal(GatedChannelTransform(5, mode)(x), x)
    assert [name for name, _ in GatedChannelTransform(5).named_parameters()] == ["alpha", "gamma", "beta"]


@pytest.mark.parametrize("mode", ["l2", "l1"])
def test_closed_form_by_loops(mode):
    gct, x = filled(3, mode=mode), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    y = gct(x)
    alpha, gamma, beta = (parameter.tolist() for parameter in gct.parameters())
    for sample in range(2):
        cells = [x[sample, channel].flatten().tolist() for channel in range(3)]
        if mode == "l2":
            s = [a * math.sqrt(sum(v * v for v in row) + 1e-5) for a, row in zip(alpha, cells, strict=True)]
            scale = math.sqrt(sum(v * v for v in s) / 3 + 1e-5)
        else:
            s = [a * sum(abs(v) for v in row) for a, row in zip(alpha, cells, strict=True)]
            scale = sum(abs(v) for v in s) / 3 + 1e-5
        for channel in range(3):
            gate = 1 + math.tanh(gamma[channel] * s[channel] / scale + beta[channel])
            torch.testing.assert_close(y[sample, channel], x[sample, channel] * gate, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("gate", "at_one"), [("tanh", 1 + math.tanh(1)), ("sigmoid", 2 / (1 + math.exp(-1))), ("elu", 2.0)]
)
def test_gates_of_the_ablation(gate, at_one):
    gct = GatedChannelTransform(2, gate=gate)
    x = torch.randn(1, 2, 3, 3)
    assert torch.equal(gct(x), x)
    nn.init.ones_(gct.beta)
    torch.testing.assert_close(gct.gates(x), torch.full((1, 2), at_one))


@pytest.mark.parametrize("mode", ["l2", "l1"])
def test_gradients_by_finite_differences(mode):
    gct = filled(3, mode=mode)
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    parameters = tuple(gct.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: gct(x), (x, *parameters))


@pytest.mark.parametrize("mode", ["l2", "l1"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_large_short_floats_stay_finite(mode, dtype):
    gct = GatedChannelTransform(4, mode)
    nn.init.ones_(gct.gamma)
    x = torch.full((1, 4, 56, 56), 1000.0, dtype=dtype)  # their squares alone are beyond float16
    y = gct(x)
    assert y.dtype == dtype
    assert torch.isfinite(y).all()


def test_a_channel_of_zeros_has_a_finite_gradient():
    gct = GatedChannelTransform(2)
    x = torch.zeros(1, 2, 3, 3, requires_grad=True)
    gct(x).sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("make", [torchvision.models.resnet50, lambda: timm.create_model("resnet50")])
def test_resnet50_gains_the_published_modules_and_parameters(make):
    model = make()
    before = sum(parameter.numel() for parameter in model.parameters())
    gates = add_gct(model)
    assert len(gates) == 53
    assert sum(parameter.numel() for parameter in model.parameters()) - before == 67_593


def test_a_model_with_gates_computes_what_it_did():
    model = torchvision.models.resnet18().eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = model(images)
        assert len(add_gct(model, "block")) == 8
        assert torch.equal(model(images), before)
        assert isinstance(model.layer1[0].conv1, Gated)
        assert len(add_gct(model)) == 20 - 8  # the others; none gets two
        assert torch.equal(model(images), before)


def test_beta_has_no_weight_decay_whatever_its_name():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3))
    gates = add_gct(model)
    decayed, free = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert {id(each) for each in free["params"]} == {id(gate.beta) for gate in gates}
    assert len(decayed["params"]) == 4 + 2 * 2
    assert len(parameter_groups(nn.Linear(2, 2), 0.1)) == 1


def test_squeeze_and_excitation_is_drawn_from_the_generator():
    one, two = (make_gate("se", 32, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    x = torch.randn(2, 32, 4, 4)
    assert torch.equal(one(x), two(x))
    assert one.fc1.out_channels == 8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GatedChannelTransform(2, "l3"), "mode must be 'l2' or 'l1', got 'l3'"),
        (lambda: GatedChannelTransform(2, gate="relu"), "gate must be 'tanh', 'sigmoid' or 'elu', got 'relu'"),
        (lambda: GatedChannelTransform(2)(torch.zeros(1, 3, 4, 4)), r"x must be \(B, 2, ...\) .* got \(1, 3, 4, 4\)"),
        (lambda: make_gate("gtc", 2, generator=None), "gating must be 'gct', 'gct-l1' or 'se', got 'gtc'"),
        (lambda: add_gct(nn.Conv2d(1, 1, 1), "all"), "where must be 'every' or 'block', got 'all'"),
        (lambda: add_gct(nn.Sequential(nn.Linear(2, 2))), "Sequential has no convolution"),
        (lambda: add_gct(nn.Sequential(nn.Conv2d(1, 1, 1)), "block"), "Sequential has no residual block"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
