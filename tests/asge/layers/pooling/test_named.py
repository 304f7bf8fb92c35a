import pytest
import torch
import torch.nn.functional as F

from asge.layers import pooling
from asge.layers.pooling import POOLINGS, pool, pool2d, rms_pool2d, soft_pool2d

OVERLAPPING = {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}
SHAPES = {1: (2, 3, 8), 2: (2, 3, 6, 8), 3: (1, 2, 4, 6, 8)}


def test_pools_of_networks_by_name():
    y = torch.rand(2, 3, 6, 6)
    assert torch.equal(pool2d(y, 2, "max"), y.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5)))
    torch.testing.assert_close(pool2d(y, 2, "avg"), y.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5)))
    assert torch.equal(pool2d(y, 2, "rms"), rms_pool2d(y, 2))
    assert torch.equal(pool2d(y, 2, "soft"), soft_pool2d(y, 2))
    with pytest.raises(ValueError, match="'rms', 'soft', 'max' or 'avg', got 'min'"):
        pool2d(y, 2, "min")


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_all_pools_have_the_same_shapes_and_pytorchs_own_its_values(dimensions):
    y = torch.randn(SHAPES[dimensions])
    plain = getattr(F, f"max_pool{dimensions}d")(y, 3, 2, 1, 1, True)
    assert torch.equal(pool(y, "max", **OVERLAPPING), plain)
    for kind in POOLINGS:
        assert pool(y, kind, **OVERLAPPING).shape == plain.shape
    average = getattr(F, f"avg_pool{dimensions}d")(y, 3, 2, 1, True, count_include_pad=False)
    assert torch.equal(pool(y, "avg", **OVERLAPPING), average)


@pytest.mark.parametrize("kind", POOLINGS)
def test_padding_counts_in_no_window(kind):
    y = torch.full((1, 1, 4, 4), 3.0)
    torch.testing.assert_close(pool(y, kind, **OVERLAPPING), torch.full((1, 1, 3, 3), 3.0))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("kind", POOLINGS)
def test_a_map_without_a_batch_is_pooled_where_its_dimensions_are_given(kind, dimensions):
    y = torch.randn(SHAPES[dimensions])
    expected = pool(y, kind, **OVERLAPPING)[0]
    assert torch.equal(pool(y[0], kind, **OVERLAPPING, dimensions=dimensions), expected)
    if dimensions == 2:
        assert torch.equal(pool2d(y[0], 2, kind), pool2d(y, 2, kind)[0])


def test_flat_inputs_are_refused():
    with pytest.raises(ValueError, match=r"\(B, C, L\), \(B, C, H, W\) or \(B, C, T, H, W\), got \(2, 3\)"):
        pool(torch.zeros(2, 3), "soft", 2)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_modules_are_their_functions(dimensions):
    y = torch.randn(SHAPES[dimensions])
    for name in ("RMSPool", "SoftPool"):
        module = getattr(pooling, f"{name}{dimensions}d")(3, 2, padding=1, ceil_mode=True)
        function = getattr(pooling, f"{name[:-4].lower()}_pool{dimensions}d")
        assert torch.equal(module(y), function(y, **OVERLAPPING))
        assert "kernel_size=3, stride=2, padding=1, ceil_mode=True" in repr(module)


def test_a_module_of_the_papers_gradient():
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    module = pooling.SoftPool2d(2, gradient="paper")
    assert "gradient='paper'" in repr(module)
    module(x).sum().backward()
    torch.testing.assert_close(x.grad.sum(), torch.tensor(4.0))  # the weights of each of four windows add up to 1
    with pytest.raises(ValueError, match="'exact' or 'paper', got 'none'"):
        pooling.SoftPool2d(2, gradient="none")
