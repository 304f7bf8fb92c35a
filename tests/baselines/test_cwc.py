from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from baselines.cwc import CwCLearner, CwCSettings, class_goodness

TASK = SimpleNamespace(shape=(1, 8, 8), classes=3)


def make(epochs=4, **settings):
    options = {
        "channels": (3, 6, 9, 12),
        "train_until": (0.25, 0.5, 0.75, 1.0),
        "optimiser": "sgd",
        "momentum": 0.0,
    }
    budget = SimpleNamespace(epochs=epochs, steps_per_epoch=10)
    generator = torch.Generator().manual_seed(0)
    return CwCLearner(TASK, CwCSettings(**options | settings), budget, torch.device("cpu"), generator)


def batch(size=12):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 1, 8, 8, generator=generator), torch.randint(3, (size,), generator=generator)


def test_class_goodness_by_a_loop():
    x = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    for b in range(2):
        for j in range(3):
            values = x[b, 2 * j : 2 * j + 2].flatten().tolist()
            expected = sum(v * v for v in values) / len(values)
            assert class_goodness(x, 3)[b, j].item() == pytest.approx(expected)


def test_a_step_equals_plain_gradient_descent_on_every_local_loss():
    learner = make(learning_rate=0.1)
    learner.begin_epoch(0)
    images, labels = batch()
    weights = [(layer.conv.weight.detach().clone(), layer.conv.bias.detach().clone()) for layer in learner.layers]
    losses = learner.train_step(images, labels)

    x = images
    for index, (weight, bias) in enumerate(weights):
        weight.requires_grad_()
        bias.requires_grad_()
        y = torch.relu(F.conv2d(x, weight, bias, padding=1, groups=3 if index % 2 else 1))
        if index % 2:
            y = F.max_pool2d(y, 2)
        mean, variance = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), keepdim=True, unbiased=False)
        out = (y - mean) / torch.sqrt(variance + 1e-4)
        goodness = torch.stack([part.pow(2).mean((1, 2, 3)) for part in out.chunk(3, dim=1)], dim=1)
        loss = F.cross_entropy(goodness, labels)
        torch.testing.assert_close(losses[f"layer{index + 1}"], loss.detach())
        grad_weight, grad_bias = torch.autograd.grad(loss, (weight, bias))
        layer = learner.layers[index]
        torch.testing.assert_close(layer.conv.weight, weight - 0.1 * grad_weight, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(layer.conv.bias, bias - 0.1 * grad_bias, rtol=1e-4, atol=1e-6)
        x = out.detach()


def test_plain_blocks_have_no_groups():
    assert [layer.conv.groups for layer in make(blocks="plain").layers] == [1, 1, 1, 1]
    assert [layer.conv.groups for layer in make(blocks="cfse").layers] == [1, 3, 1, 3]


def test_a_layer_is_frozen_after_its_window_with_its_statistics():
    learner = make(learning_rate=0.1, optimiser="adam")
    for epoch in range(4):
        learner.begin_epoch(epoch)
        before = [{k: v.clone() for k, v in layer.state_dict().items()} for layer in learner.layers]
        losses = learner.train_step(*batch())
        for index, (layer, old) in enumerate(zip(learner.layers, before, strict=True)):
            same = [torch.equal(layer.state_dict()[key], value) for key, value in old.items()]
            trains = epoch <= index  # windows end after epochs 1, 2, 3 and 4
            assert all(same) != trains, (epoch, index)
            assert (f"layer{index + 1}" in losses) == trains


def test_published_windows_on_their_own_number_of_epochs():
    learner = make(epochs=23, train_until=CwCSettings().train_until)
    assert learner._last_epoch == [10, 15, 19, 23]


def test_predictions_use_the_last_layer_in_evaluation_mode():
    learner = make(learning_rate=0.1)
    learner.begin_epoch(0)
    images, labels = batch()
    learner.train_step(images, labels)
    x = images
    with torch.no_grad():
        for index, layer in enumerate(learner.layers):
            y = torch.relu(F.conv2d(x, layer.conv.weight, layer.conv.bias, padding=1, groups=layer.conv.groups))
            y = F.max_pool2d(y, 2) if index % 2 else y
            norm = layer.norm
            x = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, 1e-4)
        expected = x.flatten(1) @ learner.head.weight.T + learner.head.bias
    torch.testing.assert_close(learner.predict(images, "goodness"), class_goodness(x, 3))
    torch.testing.assert_close(learner.predict(images, "softmax"), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": (3, 6, 10, 12)}, "multiples of the 3 classes, got 10"),
        ({"train_until": (1.0,)}, r"one value per layer \(4\), got 1"),
        ({"channels": (3,) * 8, "train_until": (1.0,) * 8}, "to nothing"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)
