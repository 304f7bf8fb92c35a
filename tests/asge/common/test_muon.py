import pytest
import torch

from asge.common.muon import Muon, orthogonalized


def gradients(shape, steps):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator) for _ in range(steps)]


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 8)])
def test_singular_vectors_stay_and_singular_values_become_alike(shape):
    matrix = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = orthogonalized(matrix)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    by_direction = left.T @ found @ right.T
    assert float((by_direction - by_direction.diag().diag()).abs().max()) < 1e-9
    assert float(by_direction.diag().min()) > 0.6
    assert float(by_direction.diag().max()) < 1.3
    assert float(values.max() / values.min()) > 1.5


def test_the_iteration_equals_the_one_on_whole_matrices():
    matrix = torch.randn(7, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    x = matrix / matrix.norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    torch.testing.assert_close(orthogonalized(matrix), x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_kernels_follow_pytorchs_muon(memory_format):
    start = torch.randn(12, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    mine = start.clone(memory_format=memory_format).requires_grad_()
    theirs = start.flatten(1).clone().requires_grad_()
    optimiser = Muon([mine], 0.02, momentum=0.9, weight_decay=0.1)
    expected = torch.optim.Muon([theirs], 0.02, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for gradient in gradients(start.shape, 4):
        mine.grad = gradient.clone(memory_format=memory_format)
        theirs.grad = gradient.flatten(1)
        optimiser.step()
        expected.step()
    moved = (theirs - start.flatten(1)).norm()
    assert float((mine.flatten(1) - theirs).norm().detach()) < 0.02 * float(moved.detach())  # PyTorch's is in bfloat16


def test_all_else_follows_adamw():
    start = [torch.randn(5, generator=torch.Generator().manual_seed(0)), torch.randn(3, 4)]
    mine, theirs = ([each.clone().requires_grad_() for each in start] for _ in range(2))
    optimiser = Muon(mine, 0.02, weight_decay=0.1)
    expected = torch.optim.AdamW(theirs, 0.02, weight_decay=0.1)
    for step in range(5):
        for one, other in zip(mine, theirs, strict=True):
            one.grad = torch.full_like(one, step - 1.5) * one.detach()
            other.grad = one.grad.clone()
        optimiser.step()
        expected.step()
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_parameters_without_a_gradient_stay_and_a_state_resumes():
    still = torch.ones(2, requires_grad=True)
    kernels = [torch.ones(2, 3, 3, 3, requires_grad=True) for _ in range(2)]
    straight, resumed = (Muon([kernel, still], 0.1) for kernel in kernels)
    given = gradients((2, 3, 3, 3), 2)
    for optimiser, kernel in ((straight, kernels[0]), (resumed, kernels[1])):
        kernel.grad = given[0]
        optimiser.step()
    again = Muon([kernels[1], still], 0.5)
    again.load_state_dict(resumed.state_dict())
    for optimiser, kernel in ((straight, kernels[0]), (again, kernels[1])):
        kernel.grad = given[1]
        optimiser.step()
    assert torch.equal(*kernels)
    assert torch.equal(still, torch.ones(2))
