import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from asge.layers.pooling import soft_pool1d, soft_pool2d, soft_pool3d

POOLS = {1: soft_pool1d, 2: soft_pool2d, 3: soft_pool3d}
MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
SHAPES = {1: (2, 3, 9), 2: (2, 3, 7, 8), 3: (2, 2, 5, 6, 7)}
WINDOWS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2},  # overlapping
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 2, "stride": 3},  # gaps
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    {"kernel_size": 2, "ceil_mode": True},
    {"kernel_size": 1},
]


def unfold(x, kernel_size, stride=None, padding=0, ceil_mode=False):
    """Windows in a last dimension, -inf where there is no cell, by PyTorch's own unfold."""
    dimensions = x.dim() - 2
    stride = stride or kernel_size
    out = MAX_POOLS[dimensions](x.detach(), kernel_size, stride, padding, 1, ceil_mode).shape[2:]
    sides = []
    for size, count in zip(x.shape[2:], out, strict=True):
        sides = [padding, max(0, (count - 1) * stride + kernel_size - padding - size), *sides]
    padded = F.pad(x, sides, value=-math.inf)
    for dimension in range(2, 2 + dimensions):
        padded = padded.unfold(dimension, kernel_size, stride)
    for dimension, count in enumerate(out, start=2):
        padded = padded.narrow(dimension, 0, count)
    return padded.flatten(2 + dimensions)


def oracle(x, **windows):
    cells = unfold(x, **windows)
    weights = cells.softmax(-1)
    return (weights * torch.where(weights > 0, cells, 0)).sum(-1)


def inputs(dimensions, scale=3.0, **options):
    generator = torch.Generator().manual_seed(0)
    return (scale * torch.randn(*SHAPES[dimensions], generator=generator, dtype=torch.float64)).requires_grad_(
        options.get("requires_grad", True)
    )


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("windows", WINDOWS, ids=str)
def test_values_and_the_exact_gradient_are_those_of_an_unfolded_softmax(dimensions, windows):
    x = inputs(dimensions)
    pooled = POOLS[dimensions](x, **windows)
    expected = oracle(x, **windows)
    torch.testing.assert_close(pooled, expected, rtol=1e-12, atol=1e-12)
    by_pooled = torch.randn(pooled.shape, dtype=torch.float64)
    torch.testing.assert_close(
        *(torch.autograd.grad(out, x, by_pooled)[0] for out in (pooled, expected)), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("windows", WINDOWS, ids=str)
def test_the_papers_gradient_takes_the_weights_for_constants(dimensions, windows):
    x = inputs(dimensions)
    pooled = POOLS[dimensions](x, **windows, gradient="paper")
    torch.testing.assert_close(pooled, oracle(x, **windows), rtol=1e-12, atol=1e-12)
    by_pooled = torch.randn(pooled.shape, dtype=torch.float64)
    cells = unfold(x, **windows)
    weights = cells.softmax(-1).detach()
    expected = (weights * torch.where(weights > 0, cells, 0)).sum(-1)
    torch.testing.assert_close(
        *(torch.autograd.grad(out, x, by_pooled)[0] for out in (pooled, expected)), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("windows", WINDOWS, ids=str)
def test_gradients_and_their_gradients_by_finite_differences(windows):
    x = inputs(2, scale=1.0)[:1, :2, :5, :5].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: soft_pool2d(t, **windows), (x,))
    assert torch.autograd.gradgradcheck(lambda t: soft_pool2d(t, **windows), (x,))


def test_one_window_by_hand():
    x = torch.tensor([[[0.0, math.log(3)]]], requires_grad=True)
    pooled = soft_pool1d(x, 2)  # weights 1/4 and 3/4
    assert pooled.item() == pytest.approx(0.75 * math.log(3))
    pooled.backward()
    out = pooled.item()
    assert x.grad.flatten().tolist() == pytest.approx([0.25 * (1 - out), 0.75 * (1 + math.log(3) - out)])


@settings(max_examples=50)
@given(st.integers(0, 2**31), st.floats(0.01, 1000))
def test_it_lies_between_average_and_maximum(seed, scale):
    x = scale * torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    pooled = soft_pool2d(x, 3, 2, 1)
    slack = 1e-9 * scale
    assert (pooled >= F.avg_pool2d(x, 3, 2, 1, count_include_pad=False) - slack).all()
    assert (pooled <= F.max_pool2d(x, 3, 2, 1) + slack).all()


@pytest.mark.parametrize("offset", [1e4, -1e4])
def test_a_window_far_from_the_maximum_of_its_map_is_as_exact_as_any(offset):
    x = inputs(2, requires_grad=False).float()
    moved = x.clone()
    moved[..., :4, :4] += offset
    expected = oracle(moved.double(), kernel_size=2)
    torch.testing.assert_close(soft_pool2d(moved, 2).double(), expected, rtol=1e-6, atol=1e-6)


def test_values_of_ten_thousand_give_finite_gradients():
    x = torch.tensor([1e4, -1e4, 0.0, 1e4]).view(1, 1, 2, 2).requires_grad_()
    pooled = soft_pool2d(x, 2, padding=1)
    pooled.sum().backward()
    assert torch.isfinite(pooled).all()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_floats_are_pooled_in_float32(dtype):
    x = inputs(2, requires_grad=False).to(dtype)
    pooled = soft_pool2d(x, 2)
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled, oracle(x.float(), kernel_size=2).to(dtype))


def test_under_autocast_nothing_is_lost():
    x = inputs(2, requires_grad=False).float()
    with torch.autocast("cpu", torch.bfloat16):
        pooled = soft_pool2d(x, 2)
    torch.testing.assert_close(pooled, soft_pool2d(x, 2), rtol=0, atol=0)


def test_an_empty_batch_and_a_view_that_is_not_contiguous():
    assert soft_pool2d(torch.zeros(0, 3, 4, 4), 2).shape == (0, 3, 2, 2)
    x = torch.randn(2, 8, 9, 3).permute(0, 3, 2, 1)[:, :, 1:, 2:]
    assert not x.is_contiguous()
    torch.testing.assert_close(soft_pool2d(x, 2), oracle(x, kernel_size=2))


def test_channels_last_stays_so():
    x = torch.randn(2, 8, 6, 6).contiguous(memory_format=torch.channels_last).requires_grad_()
    pooled = soft_pool2d(x, 2)
    assert pooled.is_contiguous(memory_format=torch.channels_last)
    pooled.sum().backward()
    assert x.grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "arguments",
    [{"kernel_size": 3, "padding": 2}, {"kernel_size": 9}, {"kernel_size": 0}, {"kernel_size": 2, "stride": 0}],
)
def test_wrong_windows_are_refused_as_by_pytorch(arguments):
    x = torch.zeros(1, 1, 4, 4)
    with pytest.raises(RuntimeError) as expected:
        F.max_pool2d(x, **arguments)
    with pytest.raises(RuntimeError) as found:
        soft_pool2d(x, **arguments)
    assert str(found.value) == str(expected.value)


def test_an_unknown_gradient_is_refused():
    with pytest.raises(ValueError, match="gradient must be 'exact' or 'paper', got 'true'"):
        soft_pool2d(torch.zeros(1, 1, 4, 4), 2, gradient="true")


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("windows", WINDOWS, ids=str)
def test_a_map_without_a_batch_is_pooled_as_in_a_batch_of_one(dimensions, windows):
    x = inputs(dimensions)
    pooled = POOLS[dimensions](x[0], **windows)
    assert pooled.shape == MAX_POOLS[dimensions](x[0], **windows).shape
    assert torch.equal(pooled, POOLS[dimensions](x[:1], **windows)[0])
    by_map, by_batch = (
        torch.autograd.grad(POOLS[dimensions](each, **windows).square().sum(), x)[0] for each in (x[0], x[:1])
    )
    assert torch.equal(by_map, by_batch)


@pytest.mark.parametrize("gradient", ["exact", "paper"])
@pytest.mark.parametrize("windows", [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}], ids=str)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-14), (torch.float32, 1e-6), (torch.bfloat16, 8e-3)])
def test_minus_infinity_weighs_nothing_and_a_window_of_it_alone_is_minus_infinity(gradient, windows, dtype, error):
    x = torch.randn(1, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    x[..., :4, :4] = -math.inf
    x[..., 0, 0] = 0.5 if windows["kernel_size"] == 2 else -math.inf  # a window of one finite cell, and some of none
    x.requires_grad_()
    pooled = soft_pool2d(x, **windows, gradient=gradient)
    highest = F.max_pool2d(x.detach(), **windows)
    assert torch.equal(pooled == -math.inf, highest == -math.inf)
    assert bool((highest == -math.inf).any())
    precise = x.detach().double()
    expected = oracle(precise, **windows)
    finite = highest > -math.inf
    torch.testing.assert_close(pooled.detach().double()[finite], expected[finite], rtol=error, atol=error)
    by_input = torch.autograd.grad(pooled, x, torch.full_like(pooled, 10))[0]
    assert bool(by_input.isfinite().all())
    assert float(by_input[x == -math.inf].abs().max()) == 0
    assert float(by_input[x > -math.inf].abs().max()) > 0


def test_maps_of_integers_are_refused():
    with pytest.raises(TypeError, match="maps of floats, got"):
        soft_pool2d(torch.ones(1, 1, 4, 4, dtype=torch.int64), 2)
