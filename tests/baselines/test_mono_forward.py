from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from baselines.mono_forward import MonoForwardLearner, MonoForwardSettings

TASK = SimpleNamespace(shape=(1, 8, 8), classes=3)
BUDGET = SimpleNamespace(epochs=1, steps_per_epoch=5)


def make(**settings):
    options = {
        "plan": "4,M,6s", "hidden": (5,), "optimiser": "sgd", "momentum": 0.0, "schedule": "constant",
        "learning_rate": 0.1,
    }  # fmt: skip
    return MonoForwardLearner(
        TASK, MonoForwardSettings(**options | settings), BUDGET, torch.device("cpu"), torch.Generator().manual_seed(0)
    )


def batch(size=12):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 1, 8, 8, generator=generator), torch.randint(3, (size,), generator=generator)


def test_a_step_equals_plain_gradient_descent_on_every_local_loss():
    learner = make()
    images, labels = batch()
    before = [[p.detach().clone().requires_grad_() for p in layer.parameters()] for layer in learner.layers]
    losses = learner.train_step(images, labels)
    x = images
    for index, (weight, bias, projection) in enumerate(before):
        z = x.flatten(1) @ weight.T + bias if index == 2 else F.conv2d(x, weight, bias, padding=1, stride=1 + index)
        a = torch.relu(z)
        loss = -(a.flatten(1) @ projection.T).log_softmax(1)[range(12), labels].mean()
        torch.testing.assert_close(losses[f"layer{index + 1}"], loss.detach())
        gradients = torch.autograd.grad(loss, (weight, bias, projection))
        for now, old, gradient in zip(learner.layers[index].parameters(), before[index], gradients, strict=True):
            torch.testing.assert_close(now, old - 0.1 * gradient)
        x = F.max_pool2d(a.detach(), 2) if index == 0 else a.detach()


def test_predictions_read_the_last_layer_or_add_all():
    learner = make()
    images, _ = batch()
    layers = learner.layer_logits(images)
    torch.testing.assert_close(learner.predict(images, "last"), layers[-1])
    torch.testing.assert_close(learner.predict(images, "goodness"), sum(layers))
    projections = [layer.projection.weight for layer in learner.layers]
    used = [p.data_ptr() for p in learner.parameters("last")]
    assert [p.data_ptr() in used for p in projections] == [False, False, True]
    with pytest.raises(ValueError, match="strategy must be one of last, goodness, got 'best'"):
        learner.predict(images, "best")
