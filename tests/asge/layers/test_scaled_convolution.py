"""A scaled convolution without its input's gradient, against autograd through the scaled input."""

import pytest
import torch
from torch import nn

from asge.layers import scaled_convolution
from asge.layers.gating import GatedChannelTransform, add_gct
from asge.layers.scaled_convolution import scaled_conv2d

CONVOLUTIONS = {
    "plain": {"kernel_size": 3},
    "strided and padded": {"kernel_size": 7, "stride": 2, "padding": 3, "bias": False},
    "dilated, of unequal sides": {"kernel_size": (3, 2), "padding": (2, 1), "dilation": (2, 1)},
    "in groups": {"kernel_size": 3, "groups": 2},
    "of each channel": {"kernel_size": 3, "groups": 4},
}


@pytest.fixture(params=CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def convolution(request):
    torch.manual_seed(0)
    return nn.Conv2d(4, 8, **request.param).double()


@pytest.fixture
def x():
    return torch.randn(5, 4, 11, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_autograds(convolution, x, layout):
    x = x.contiguous(memory_format=layout)
    scales = torch.rand(5, 4, dtype=torch.float64, requires_grad=True)
    inputs = [scales, *convolution.parameters()]
    plain, ours = convolution(x * scales[:, :, None, None]), scaled_conv2d(x, scales, convolution)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(plain)
    expected = torch.autograd.grad(plain, inputs, weights)
    torch.testing.assert_close(torch.autograd.grad(ours, inputs, weights), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("options", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_second_derivatives(options):
    """By finite differences of every element, so of few: small images, and two filters where there are no groups."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 8 if "groups" in options else 2, **options).double()
    x = torch.randn(2, 4, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    scales = torch.rand(2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(
        lambda scales, *_: scaled_conv2d(x, scales, convolution), (scales, *convolution.parameters())
    )


def test_a_gate_on_images_takes_it_and_one_on_maps_does_not(x, monkeypatch):
    taken = []
    monkeypatch.setattr("asge.layers.gating.scaled_conv2d", lambda *args: taken.append(args) or scaled_conv2d(*args))
    network = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    first, second = add_gct(network)
    assert isinstance(first, GatedChannelTransform)
    network.double()
    with torch.no_grad():
        for gate in (first, second):
            gate.gamma.fill_(0.3)
            gate.beta.fill_(-0.2)
    result = network(x)
    assert len(taken) == 1
    parameters = list(network.parameters())
    gradients = torch.autograd.grad(result.square().sum(), parameters)
    monkeypatch.setattr(scaled_convolution, "pays", lambda *_: False)
    expected = torch.autograd.grad(network(x).square().sum(), parameters)
    assert len(taken) == 1
    torch.testing.assert_close(gradients, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "images",
    [torch.zeros(0, 3, 8, 8), torch.zeros(2, 5, 8, 8), torch.zeros(2, 3, 8, 8, requires_grad=True)],
    ids=["none", "many channels", "with a gradient"],
)
def test_where_autograd_stays(images):
    assert not scaled_convolution.pays(images, nn.Conv2d(images.shape[1], 4, 3))


def test_autocast_and_the_compiler_keep_autograd():
    images, convolution = torch.zeros(2, 3, 8, 8), nn.Conv2d(3, 4, 3)
    assert scaled_convolution.pays(images, convolution)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not scaled_convolution.pays(images, convolution)
    with torch.no_grad():
        assert not scaled_convolution.pays(images, convolution)
