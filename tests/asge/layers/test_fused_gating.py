"""GCT with its derivatives by hand equals GCT by autograd, and so do its second derivatives."""

import pytest
import torch

from asge.layers.fused_gating import gated, plainly_gated
from asge.layers.gating import GatedChannelTransform

LAYOUTS = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "slices": lambda x: x.repeat(1, 1, 1, 2)[..., ::2],
}
EPS = 1e-5


def drawn(layout, seed=0):
    """An x, and alpha, gamma and beta."""
    generator = torch.Generator().manual_seed(seed)
    x = LAYOUTS[layout](torch.randn(5, 3, 6, 4, generator=generator, dtype=torch.float64))
    parameters = [torch.randn(3, generator=generator, dtype=torch.float64) for _ in range(3)]
    return [each.requires_grad_() for each in (x, *parameters)]


@pytest.mark.parametrize("by_y", LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_output_and_gradients_equal_those_of_autograd(layout, by_y):
    inputs, upstream = drawn(layout), drawn(by_y, seed=1)[0].detach()
    output, plain = gated(*inputs, EPS), plainly_gated(*inputs, EPS)
    torch.testing.assert_close(output, plain, rtol=1e-12, atol=1e-12)
    found, wanted = (torch.autograd.grad(each, inputs, upstream) for each in (output, plain))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_the_module_is_its_own_formula():
    x, *parameters = drawn("contiguous")
    gct = GatedChannelTransform(3).double()
    with torch.no_grad():
        for own, other in zip(gct.parameters(), parameters, strict=True):
            own.copy_(other)
    torch.testing.assert_close(gct(x), x * gct.gates(x)[:, :, None, None], rtol=1e-12, atol=1e-12)


def test_first_and_second_derivatives_by_finite_differences():
    inputs = drawn("contiguous")
    for derivative in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert derivative(lambda *inputs: gated(*inputs, EPS), inputs)


@pytest.mark.parametrize("frozen", range(4))
def test_what_needs_no_gradient_gets_none(frozen):
    inputs = drawn("contiguous")
    inputs[frozen].requires_grad_(False)
    others = [each for each in inputs if each.requires_grad]
    for again in (False, True):
        found, wanted = (
            torch.autograd.grad(each(*inputs, EPS).sum(), others, create_graph=again) for each in (gated, plainly_gated)
        )
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other)


def test_a_channel_of_zeros_and_a_batch_of_none():
    parameters = drawn("contiguous")[1:]
    for batch in (2, 0):
        x = torch.zeros(batch, 3, 4, 4, dtype=torch.float64, requires_grad=True)
        gated(x, *parameters, EPS).sum().backward()
        assert x.grad.shape == x.shape
        assert x.grad.isfinite().all()


def test_compiled_it_is_the_same():
    x = torch.randn(2, 3, 4, 4)
    gct = GatedChannelTransform(3)
    torch.nn.init.ones_(gct.gamma)
    compiled = torch.compile(gct, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), gct(x))
