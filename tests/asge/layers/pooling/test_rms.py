import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from asge.layers.pooling import rms_pool1d, rms_pool2d, rms_pool3d


@given(st.lists(st.floats(-100, 100), min_size=4, max_size=4))
def test_one_window_by_hand(values):
    y = torch.tensor(values, dtype=torch.float64).view(1, 1, 2, 2)
    expected = math.sqrt(sum(v * v for v in values) / 4)
    assert math.isclose(float(rms_pool2d(y, 2)), expected, abs_tol=1e-12, rel_tol=1e-12)


def test_keeps_mean_energy_where_windows_tile_the_map():
    y = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(rms_pool2d(y, 2).square().mean((2, 3)), y.square().mean((2, 3)))


def test_leaves_out_rows_that_fill_no_window():
    y = torch.randn(1, 1, 7, 7, dtype=torch.float64)
    assert rms_pool2d(y, 2).shape == (1, 1, 3, 3)
    torch.testing.assert_close(rms_pool2d(y, 2), rms_pool2d(y[:, :, :6, :6], 2))


def test_overlapping_windows():
    y = torch.randn(1, 2, 5, 5, dtype=torch.float64)
    windows = y.unfold(2, 3, 1).unfold(3, 3, 1)
    torch.testing.assert_close(rms_pool2d(y, 3, 1), windows.square().mean((4, 5)).sqrt())


def test_gradient_is_right_and_finite_at_zero():
    y = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: rms_pool2d(t, 2), (y,))
    zeros = torch.zeros(1, 1, 4, 4, requires_grad=True)
    rms_pool2d(zeros, 2).sum().backward()
    assert zeros.grad.tolist() == torch.zeros(1, 1, 4, 4).tolist()


def test_smallest_float32_activations_give_finite_gradients():
    y = torch.full((1, 1, 2, 2), 1e-18, requires_grad=True)
    rms_pool2d(y, 2).sum().backward()
    assert torch.isfinite(y.grad).all()


def test_one_and_three_dimensions():
    y = torch.randn(2, 3, 7, dtype=torch.float64)
    torch.testing.assert_close(rms_pool1d(y, 3, 2), y.unfold(2, 3, 2).square().mean(3).sqrt())
    y = torch.randn(1, 2, 4, 6, 8, dtype=torch.float64)
    windows = y.unfold(2, 2, 2).unfold(3, 2, 2).unfold(4, 2, 2)
    torch.testing.assert_close(rms_pool3d(y, 2), windows.square().mean((5, 6, 7)).sqrt())
