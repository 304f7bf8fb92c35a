"""Factors of channels and channels' energies, written out, equal plain PyTorch, and so do their derivatives."""

import pytest
import torch

from asge import channel_scaling
from asge.channel_scaling import energies, scale

LAYOUTS = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "slices": lambda x: x.repeat(1, 1, 1, 2)[..., ::2],
}


@pytest.fixture(autouse=True, params=["in slices", "at once"])
def slices(request, monkeypatch):
    if request.param == "in slices":
        monkeypatch.setattr(channel_scaling, "SLICE_BYTES", 1000)


def drawn(layout, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 3, 6, 4, generator=generator, dtype=torch.float64)
    return LAYOUTS[layout](x).requires_grad_(), torch.randn(5, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_energies_equal_a_sum_of_squares(layout):
    x, weights = drawn(layout)
    torch.testing.assert_close(energies(x), (x**2).sum((2, 3)))
    (by_x,) = torch.autograd.grad((weights * energies(x)).sum(), x)
    torch.testing.assert_close(by_x, 2 * x * weights[:, :, None, None])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scaling_equals_a_product_and_its_gradients(layout):
    x, scales = drawn(layout)
    scales.requires_grad_()
    weights, _ = drawn(layout, seed=1)
    torch.testing.assert_close(scale(x, scales), x * scales[:, :, None, None])
    found = torch.autograd.grad((weights.detach() * scale(x, scales)).sum(), (x, scales))
    wanted = torch.autograd.grad((weights.detach() * (x * scales[:, :, None, None])).sum(), (x, scales))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_first_and_second_derivatives_by_finite_differences():
    x, scales = drawn("contiguous")
    scales.requires_grad_()
    for derivative in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert derivative(energies, (x,))
        assert derivative(scale, (x, scales))


def test_a_channel_of_zeros_and_a_batch_of_none():
    x = torch.zeros(2, 3, 4, 4, requires_grad=True)
    energies(x).sum().backward()
    assert x.grad.count_nonzero() == 0
    empty = torch.zeros(0, 3, 4, 4, requires_grad=True)
    scale(empty, energies(empty)).sum().backward()
    assert empty.grad.shape == empty.shape


def test_compiled_it_is_the_same():
    x, _ = drawn("contiguous")
    compiled = torch.compile(lambda x: scale(x, energies(x)), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), x * energies(x)[:, :, None, None])
