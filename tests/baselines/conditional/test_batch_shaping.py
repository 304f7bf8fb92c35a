import numpy as np
import pytest
import torch
from scipy import stats

from baselines.conditional.batch_shaping import batch_shaping_loss, beta_cdf, l0_loss, target_rate_loss

PRIOR = stats.beta(0.6, 0.4)


def by_hand(gates, reduction):
    """The definition, gate by gate, with SciPy's own distribution."""
    count = len(gates)
    losses = []
    for column in gates.T:
        distance = (np.arange(1, count + 1) / (count + 1) - PRIOR.cdf(np.sort(column))) ** 2
        losses.append(distance.sum() if reduction == "sum" else distance.mean())
    return np.mean(losses)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_values_by_the_definition(reduction):
    gates = torch.rand(50, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert batch_shaping_loss(gates, reduction=reduction).item() == pytest.approx(by_hand(gates.numpy(), reduction))


@pytest.mark.parametrize(
    ("value", "expected", "rounded"), [(0.6, 0.0856, 5e-5), (0.99, 0.227, 5e-4), (0.01, 0.302, 5e-4)]
)
def test_known_values_of_constant_gates(value, expected, rounded):
    gates = torch.full((256, 1), value, dtype=torch.float64)
    assert batch_shaping_loss(gates, reduction="mean").item() == pytest.approx(expected, abs=rounded)


def test_draws_from_the_prior_are_as_near_as_chance_allows():
    count = 500
    gates = torch.from_numpy(PRIOR.rvs((count, 400), random_state=0))
    assert batch_shaping_loss(gates, reduction="mean").item() == pytest.approx(1 / (6 * count), rel=0.15)


def test_gradient_by_finite_differences_and_by_the_sorted_closed_form():
    gates = torch.rand(20, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.9 + 0.05
    gates.requires_grad_()
    assert torch.autograd.gradcheck(batch_shaping_loss, (gates,))
    batch_shaping_loss(gates).backward()
    values = gates.detach().numpy()
    expected = np.zeros_like(values)
    for gate in range(3):
        order = np.argsort(values[:, gate])
        ordered = values[order, gate]
        e = np.arange(1, 21) / 21
        expected[order, gate] = -2 * PRIOR.pdf(ordered) * (e - PRIOR.cdf(ordered)) / 3  # mean over three gates
    torch.testing.assert_close(gates.grad, torch.from_numpy(expected))


def test_the_density_is_clipped_where_it_is_infinite():
    x = torch.tensor([0.0, 0.5, 1.0, 1 - 1e-9], dtype=torch.float64, requires_grad=True)
    beta_cdf(x, 0.6, 0.4).sum().backward()
    assert x.grad.tolist() == pytest.approx([100.0, PRIOR.pdf(0.5), 100.0, 100.0])


def test_the_density_is_clipped_where_it_vanishes():
    x = torch.tensor([1e-6, 0.5], dtype=torch.float64, requires_grad=True)
    beta_cdf(x, 2.0, 2.0).sum().backward()
    assert x.grad.tolist() == pytest.approx([1e-3, 1.5])


def test_float32_and_the_shape_of_its_gradient():
    gates = torch.rand(128, 5, requires_grad=True)
    loss = batch_shaping_loss(gates)
    assert loss.dtype == torch.float32
    loss.backward()
    assert gates.grad.shape == gates.shape


def test_adam_brings_gates_to_the_prior():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(256, 8, generator=generator).requires_grad_()
    optimiser = torch.optim.Adam([logits], 0.05)
    for _ in range(500):
        optimiser.zero_grad()
        batch_shaping_loss(logits.sigmoid()).backward()
        optimiser.step()
    for gate in logits.sigmoid().detach().double().numpy().T:
        assert stats.kstest(gate, PRIOR.cdf).statistic < 0.05


def test_the_other_losses_by_hand():
    assert l0_loss(torch.tensor([[0.25, 0.75], [0.5, 1.0]])).item() == 0.625
    executed, targets = torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([0.5, 1.0])
    assert target_rate_loss(executed, targets, "sum").item() == pytest.approx(0.5**2 + 0.5**2)
    assert target_rate_loss(executed, targets).item() == pytest.approx((0.5**2 + 0.5**2) / 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.rand(4),), r"gates must be \(N, G\) and not empty, got \(4,\)"),
        ((torch.rand(0, 2),), r"got \(0, 2\)"),
        ((torch.rand(4, 2), 0.6, 0.4, "max"), "reduction must be 'sum' or 'mean', got 'max'"),
        ((torch.rand(4, 2), 0.0, 0.4), "a and b must be above 0, got 0.0 and 0.4"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        batch_shaping_loss(*arguments)
