import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asge.goodness import patches_per_side, spatial_goodness


def brute_force(y: torch.Tensor, patches: int, reduction: str) -> torch.Tensor:
    batch, channels, height, width = y.shape
    out = torch.zeros(batch, channels, patches, patches, dtype=y.dtype)
    for b in range(batch):
        for c in range(channels):
            for p in range(patches):
                for q in range(patches):
                    values = [
                        float(y[b, c, i, j]) ** 2
                        for i in range(p * height // patches, (p + 1) * height // patches)
                        for j in range(q * width // patches, (q + 1) * width // patches)
                    ]
                    out[b, c, p, q] = sum(values) / (len(values) if reduction == "mean" else 1)
    return out.flatten(1)


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    patches=st.integers(1, 9),
    reduction=st.sampled_from(["mean", "sum"]),
    seed=st.integers(0, 1000),
)
def test_equals_a_loop_over_every_pixel(height, width, patches, reduction, seed):
    patches = min(patches, height, width)
    y = torch.randn(2, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(spatial_goodness(y, patches, reduction), brute_force(y, patches, reduction))


@pytest.mark.parametrize(("size", "patches"), [(28, 8), (7, 2), (14, 4), (8, 8), (5, 1)])
def test_sum_conserves_energy_where_patches_divide_the_map_and_where_not(size, patches):
    y = torch.randn(3, 4, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    by_channel = spatial_goodness(y, patches, "sum").view(3, 4, -1).sum(2)
    torch.testing.assert_close(by_channel, y.square().sum((2, 3)))


def test_patches_by_hand():
    y = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert spatial_goodness(y, 1, "mean").tolist() == [[7.5]]
    assert spatial_goodness(y, 1, "sum").tolist() == [[30.0]]
    assert spatial_goodness(y, 2, "mean").tolist() == [[1.0, 4.0, 9.0, 16.0]]


@pytest.mark.parametrize("patches", [2, 3])
def test_gradient_is_two_y_times_the_patch_gradient(patches):
    y = torch.randn(2, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: spatial_goodness(t, patches, "mean"), (y,))
    spatial_goodness(y, patches, "sum").sum().backward()
    torch.testing.assert_close(y.grad, 2 * y.detach())


@pytest.mark.parametrize(
    ("channels", "last", "alpha", "rule", "size", "expected"),
    [
        (32, 256, 1.0, "power", 28, 8),
        (64, 256, 1.0, "power", 14, 4),
        (128, 256, 1.0, "power", 7, 2),
        (256, 256, 1.0, "power", 3, 1),
        (32, 256, 1.0, "linear", 28, 8),
        (64, 256, 0.5, "power", 14, 2),
        (64, 256, 0.5, "linear", 14, 2),
        (32, 256, 0.5, "power", 28, 3),  # sqrt(8) = 2.83
        (32, 256, 0.5, "linear", 28, 4),
        (32, 256, 0.0, "power", 28, 1),
        (32, 256, 0.0, "linear", 28, 1),
        (32, 256, 2.0, "power", 28, 28),  # 64, but there are only 28 rows
        (512, 256, 1.0, "power", 4, 1),  # 0.5 rounds up to 1
        (1024, 256, 1.0, "power", 4, 1),
        (100, 250, 1.0, "power", 9, 3),  # 2.5 rounds up
    ],
)
def test_patches_per_side_by_hand(channels, last, alpha, rule, size, expected):
    assert patches_per_side(channels, last, alpha, size=size, rule=rule) == expected


@given(channels=st.integers(1, 512), last=st.integers(1, 512), alpha=st.floats(0, 3), size=st.integers(1, 64))
def test_patches_fit_the_map_and_the_rules_agree_at_one(channels, last, alpha, size):
    assert 1 <= patches_per_side(channels, last, alpha, size=size) <= size
    linear = patches_per_side(channels, last, 1.0, size=size, rule="linear")
    assert patches_per_side(channels, last, 1.0, size=size, rule="power") == linear


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spatial_goodness(torch.zeros(2, 3, 4), 1), r"\(B, C, H, W\)"),
        (lambda: spatial_goodness(torch.zeros(1, 1, 4, 5), 5), "from 1 to 4"),
        (lambda: spatial_goodness(torch.zeros(1, 1, 4, 5), 0), "from 1 to 4"),
        (lambda: spatial_goodness(torch.zeros(1, 1, 4, 4), 1, "max"), "'mean' or 'sum'"),
        (lambda: patches_per_side(0, 4, size=4), "positive"),
        (lambda: patches_per_side(4, 4, -1.0, size=4), "at least 0"),
        (lambda: patches_per_side(4, 4, size=4, rule="cubic"), "'power' or 'linear'"),
    ],
)
def test_wrong_arguments_say_what_is_valid(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_mean_is_sum_over_the_patch_area():
    y = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(spatial_goodness(y, 4, "mean") * math.prod((2, 2)), spatial_goodness(y, 4, "sum"))


def test_a_huge_alpha_is_refused_in_a_sentence_where_it_makes_no_number():
    with pytest.raises(ValueError, match=r"alpha is too large: 8 to the power of 1e\+308"):
        patches_per_side(8, 64, 1e308, size=14)
    assert patches_per_side(64, 8, 1e308, size=14) == 1
    assert patches_per_side(8, 64, 1e308, size=14, rule="linear") == 14
