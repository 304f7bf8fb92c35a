import math

import pytest
import torch
import torch.nn.functional as F

from asge.block import ASGEBlock, ConvUnit


def make(**kwargs):
    generator = torch.Generator().manual_seed(0)
    options = {"patches": 2, "classes": 5, "pool": 2, "generator": generator} | kwargs
    return ASGEBlock(3, 4, **options).double()


def test_branches_follow_the_papers_formulas():
    block = make()
    x = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    y = F.conv2d(x, block.unit.conv.weight, block.unit.conv.bias, padding=1).clamp_min(0)
    torch.testing.assert_close(block.activate(x), y)

    pooled = F.unfold(y.reshape(24, 1, 8, 8), 2, stride=2).square().mean(1).sqrt().view(6, 4, 4, 4)
    mean = pooled.mean(1, keepdim=True)
    variance = pooled.var(1, keepdim=True, unbiased=False)
    torch.testing.assert_close(block.propagate(y), (pooled - mean) / torch.sqrt(variance + 1e-5))

    g = F.avg_pool2d(y * y, 4).flatten(1)
    torch.testing.assert_close(block.local_logits(y), g @ block.weight.T + block.bias)


def test_relu_is_applied_before_goodness_and_pooling():
    block = make()
    assert (block.activate(torch.randn(4, 3, 8, 8, dtype=torch.float64)) >= 0).all()


def test_only_the_convolution_is_trained():
    block = make()
    assert {name for name, _ in block.named_parameters()} == {"unit.conv.weight", "unit.conv.bias"}
    assert {name for name, _ in block.named_buffers()} == {"weight", "bias"}


def test_without_pool_the_next_input_is_normalised_only():
    unit = ConvUnit(3, 8, 1, generator=torch.Generator().manual_seed(0))
    y = torch.rand(2, 8, 5, 5)
    out = unit.propagate(y)
    torch.testing.assert_close(out.mean(1), torch.zeros(2, 5, 5), atol=1e-5, rtol=0)


@pytest.mark.parametrize("projection", ["signs", "gaussian"])
def test_projection_is_random_with_the_given_scale(projection):
    block = ASGEBlock(
        3, 64, patches=4, classes=50, projection=projection, scale=2.0, generator=torch.Generator().manual_seed(1)
    )
    assert math.isclose(float(block.weight.std()) * math.sqrt(64 * 16), 2.0, rel_tol=0.02)
    if projection == "signs":
        assert set((block.weight * 32 / 2).round(decimals=4).unique().tolist()) == {-1.0, 1.0}


def test_unknown_projection_names_the_valid_ones():
    with pytest.raises(ValueError, match="'signs' or 'gaussian'"):
        make(projection="learned")


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_the_rms_is_over_an_image_and_a_black_one_stays_black(memory_format):
    block = make(pool=1, normalization="rms")
    y = torch.rand(3, 4, 6, 5, dtype=torch.float64).to(memory_format=memory_format)
    y[1] = 0
    x = block.propagate(y)
    torch.testing.assert_close(x[0], y[0] / y[0].square().mean().sqrt())
    torch.testing.assert_close(x.square().mean((1, 2, 3)), torch.tensor([1.0, 0, 1], dtype=torch.float64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalization": "batch"}, "normalization must be 'layer' or 'rms', got 'batch'"),
        ({"dropout": 1.0}, "dropout must be from 0 to below 1, got 1.0"),
        ({"projection_scale": "depth"}, "projection_scale must be 'width' or 'classes', got 'depth'"),
        ({"projection_bias": "one"}, "projection_bias must be 'zero' or 'gaussian', got 'one'"),
    ],
)
def test_unknown_choices_name_the_valid_ones(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_same_generator_same_block():
    first, second = make(), make()
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
