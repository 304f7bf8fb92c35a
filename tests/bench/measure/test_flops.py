import pytest
import torch
import torch.nn.functional as F

from bench.measure import flops


@pytest.mark.parametrize("groups", [1, 2, 10])
def test_backward_of_a_convolution_costs_twice_its_forward_at_any_number_of_groups(groups):
    x = torch.randn(4, 20, 8, 8, requires_grad=True)
    weight = torch.randn(40, 20 // groups, 3, 3, requires_grad=True)
    forward = 2 * 4 * 8 * 8 * weight.numel()
    assert flops.count(lambda: F.conv2d(x, weight, padding=1, groups=groups)) == forward
    assert flops.count(lambda: F.conv2d(x, weight, padding=1, groups=groups).sum().backward()) == 3 * forward


def test_without_an_input_gradient_a_convolution_costs_once_more():
    x = torch.randn(4, 3, 8, 8)
    weight = torch.randn(5, 3, 3, 3, requires_grad=True)
    forward = 2 * 4 * 8 * 8 * weight.numel()
    assert flops.count(lambda: F.conv2d(x, weight, padding=1).sum().backward()) == 2 * forward


def test_stride_and_transposed_convolutions():
    x = torch.randn(2, 4, 8, 8, requires_grad=True)
    weight = torch.randn(6, 4, 3, 3, requires_grad=True)
    assert flops.count(lambda: F.conv2d(x, weight, stride=2, padding=1).sum().backward()) == 3 * 2 * 2 * 16 * 216
    up = torch.randn(4, 6, 2, 2, requires_grad=True)
    assert flops.count(lambda: F.conv_transpose2d(x, up, stride=2).sum().backward()) == 3 * 2 * 2 * 64 * 96


def test_matrix_multiplication():
    assert flops.count(lambda: torch.randn(3, 4) @ torch.randn(4, 5)) == 2 * 3 * 4 * 5
