import types

import pytest
import torch

from asge.common.muon import ACCURACY, Muon, inverse_root
from asge.common.optimisers import ScheduledOptimiser


def drawn(shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def settings(**changed):
    found = {
        "optimiser": "muon", "learning_rate": 0.02, "weight_decay": 0.1, "momentum": 0.9, "schedule": "constant",
    }  # fmt: skip
    return types.SimpleNamespace(**(found | changed))


def polar(matrix):
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    return left @ right


@pytest.mark.parametrize("smallest", [1.0, 0.1, 0.02])
def test_singular_vectors_stay_and_singular_values_come_near_one(smallest):
    left, _, right = torch.linalg.svd(drawn((12, 40)), full_matrices=False)
    matrix = left * torch.linspace(1, smallest, 12) @ right
    by_direction = left.T @ inverse_root(matrix @ matrix.T) @ matrix @ right.T
    assert float((by_direction - by_direction.diag().diag()).abs().max()) < 1e-9
    assert float((by_direction.diag() - 1).abs().max()) < ACCURACY


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e4])
def test_the_size_of_the_matrix_does_not_matter_unless_it_is_next_to_nothing(scale):
    gram = drawn((6, 20)) @ drawn((6, 20)).T
    gram = gram @ gram.T
    found = inverse_root(gram * scale) * scale**0.5
    torch.testing.assert_close(found, inverse_root(gram.clone()))
    assert float(inverse_root(gram * 0).isfinite().all())


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("channels", [(12, 4), (40, 2)])
def test_kernels_move_along_the_polar_factor_of_nesterovs_momentum(memory_format, channels):
    start = drawn((*channels, 3, 3))
    kernel = start.clone(memory_format=memory_format).requires_grad_()
    optimiser = Muon([kernel], 0.02, momentum=0.9, weight_decay=0.1)
    expected, mean = start.flatten(1), torch.zeros(start.flatten(1).shape, dtype=start.dtype)
    for step in range(4):
        gradient = drawn(start.shape, seed=step + 1)
        kernel.grad = gradient.clone(memory_format=memory_format)
        before = kernel.detach().flatten(1).clone()
        optimiser.step()
        mean = 0.9 * mean + 0.1 * gradient.flatten(1)
        direction = polar(0.9 * mean + 0.1 * gradient.flatten(1))
        expected = before * (1 - 0.02 * 0.1) - 0.02 * 0.2 * max(direction.shape) ** 0.5 * direction
        moved = (expected - before).norm()
        assert float((kernel.detach().flatten(1) - expected).norm()) < ACCURACY * float(moved)


def test_kernels_take_steps_of_the_size_and_direction_of_pytorchs_muon():
    start = drawn((12, 4, 3, 3), dtype=torch.float32)
    mine, theirs = start.clone().requires_grad_(), start.flatten(1).clone().requires_grad_()
    optimiser = Muon([mine], 0.02, momentum=0.9, weight_decay=0.1)
    expected = torch.optim.Muon([theirs], 0.02, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(4):
        mine.grad = drawn(start.shape, seed=step + 1, dtype=torch.float32)
        theirs.grad = mine.grad.flatten(1)
        optimiser.step()
        expected.step()
    moved, by_theirs = (each.detach().flatten() - start.flatten() for each in (mine, theirs))
    assert float(torch.cosine_similarity(moved, by_theirs, dim=0)) > 0.97
    assert float(moved.norm() / by_theirs.norm()) == pytest.approx(1, abs=0.25)


def test_all_else_follows_adamw_in_groups_of_their_own():
    start = [drawn(5), drawn((3, 4)), drawn((2, 3, 3, 3))]
    mine, theirs = ([each.clone().requires_grad_() for each in start] for _ in range(2))
    optimiser = ScheduledOptimiser(
        [{"params": [mine[0], mine[2]], "weight_decay": 0.0}, {"params": [mine[1]], "lr": 0.5}], settings(), 10
    )
    expected = torch.optim.AdamW(
        [{"params": [theirs[0]], "weight_decay": 0.0}, {"params": [theirs[1]], "lr": 0.5}], 0.02, weight_decay=0.1
    )
    kernel = torch.optim.AdamW([theirs[2]], 0.02, weight_decay=0.0)
    for step in range(5):
        for one, other in zip(mine, theirs, strict=True):
            one.grad = torch.full_like(one, step - 1.5) * one.detach()
            other.grad = one.grad.clone()
        optimiser.step()
        expected.step()
        kernel.step()
    torch.testing.assert_close(mine[0], theirs[0])
    torch.testing.assert_close(mine[1], theirs[1])
    assert not torch.equal(mine[2], start[2])
    assert not torch.allclose(mine[2], theirs[2])


def test_parameters_without_a_gradient_stay_and_a_state_resumes():
    still = torch.ones(2, requires_grad=True)
    kernels = [torch.ones(2, 3, 3, 3, requires_grad=True) for _ in range(2)]
    straight, resumed = (ScheduledOptimiser([kernel, still], settings(), 10) for kernel in kernels)
    given = [drawn((2, 3, 3, 3), seed, torch.float32) for seed in range(2)]
    for optimiser, kernel in ((straight, kernels[0]), (resumed, kernels[1])):
        kernel.grad = given[0]
        optimiser.step()
    again = ScheduledOptimiser([kernels[1], still], settings(learning_rate=0.5), 10)
    again.load_state_dict(resumed.state_dict())
    for optimiser, kernel in ((straight, kernels[0]), (again, kernels[1])):
        kernel.grad = given[1]
        optimiser.step()
    assert not torch.equal(kernels[0], torch.ones(2, 3, 3, 3))
    assert torch.equal(still, torch.ones(2))


@pytest.mark.parametrize("shape", [(3,), (2, 2, 3, 3)])
def test_only_what_there_is_gets_an_optimiser(shape):
    optimiser = ScheduledOptimiser([drawn(shape).requires_grad_()], settings(), 1)
    assert len(optimiser.state_dict()["optimisers"]) == 1
