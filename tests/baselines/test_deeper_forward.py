import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from baselines.deeper_forward import DeeperForwardLearner, DeeperForwardSettings, resnet17

TASK = SimpleNamespace(shape=(2, 8, 8), classes=3)
BUDGET = SimpleNamespace(epochs=2, steps_per_epoch=5)


def make(task=TASK, **settings):
    options = {"optimiser": "sgd", "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant", "learning_rate": 0.1}
    if settings.get("plan") is None:
        options["plan"] = "6,M,9,3s"
    generator = torch.Generator().manual_seed(0)
    return DeeperForwardLearner(
        task, DeeperForwardSettings(**options | settings), BUDGET, torch.device("cpu"), generator
    )


def batch(size=12):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 2, 8, 8, generator=generator), torch.randint(3, (size,), generator=generator)


def group_norm(y, classes):
    groups = y.reshape(len(y), classes, -1)
    mean, variance = groups.mean(2, keepdim=True), groups.var(2, correction=0, keepdim=True)
    return ((groups - mean) / (variance + 1e-5).sqrt()).view_as(y)


def test_a_step_equals_plain_gradient_descent_on_every_local_loss():
    learner = make(clip_norm=0.05)
    images, labels = batch()
    kernels = [layer.conv.weight.detach().clone() for layer in learner.layers]
    losses = learner.train_step(images, labels)
    x = (images - images.mean((1, 2, 3), keepdim=True)) / (
        images.var((1, 2, 3), correction=0, keepdim=True) + 1e-5
    ).sqrt()
    for index, kernel in enumerate(kernels):
        kernel.requires_grad_()
        y = torch.relu(F.conv2d(x, kernel, padding=1, stride=2 if index == 2 else 1))
        goodness = torch.stack([part.mean((1, 2, 3)) for part in y.chunk(3, 1)], 1)
        loss = -goodness.log_softmax(1)[range(12), labels].mean()
        torch.testing.assert_close(losses[f"layer{index + 1}"], loss.detach())
        (gradient,) = torch.autograd.grad(loss, kernel)
        clipped = gradient * min(1.0, 0.05 / float(gradient.norm()))
        torch.testing.assert_close(learner.layers[index].conv.weight, kernel - 0.1 * clipped)
        x = group_norm(y.detach(), 3)
        x = F.max_pool2d(x, 2) if index == 0 else x


def test_the_published_network_has_its_layers_and_shortcuts():
    task = SimpleNamespace(shape=(3, 32, 32), classes=10)
    learner = make(task, plan="resnet17", width=100)
    shapes = [tuple(layer.conv.weight.shape[:2]) for layer in learner.layers]
    assert shapes == [(100, 3), *[(100, 100)] * 4, *[(200, 200)] * 4, *[(400, 400)] * 4, *[(800, 800)] * 4]
    assert [place.stride for place in learner.places] == [1] * 5 + [2] + [1] * 3 + [2] + [1] * 7
    x = torch.randn(2, 3, 32, 32)
    outputs = [x for _, x in learner._pass(x, 17)]
    sides = [out.shape[2] for out in outputs]
    assert sides == [32] * 5 + [16] * 4 + [8] * 8
    # the second block's output is followed by the first block's, class by class
    own = learner.layers[4].normalize(learner.layers[4].activate(outputs[3])).view(2, 10, 10, 32, 32)
    kept = outputs[2].view(2, 10, 10, 32, 32)
    torch.testing.assert_close(outputs[4].view(2, 10, 20, 32, 32), torch.cat([own, kept], 2))
    # the map that joins on the next stage is that one at half the size
    sixth = learner.layers[6].normalize(learner.layers[6].activate(outputs[5]))
    torch.testing.assert_close(outputs[6], sixth + F.avg_pool2d(outputs[4], 2))


def test_resnet17_is_written_down_as_it_is_published():
    places = resnet17(4)
    assert [place.shortcut for place in places] == [
        "none", "none", "sum", "none", "channels", "none", "sum", "none", "channels",
        "none", "sum", "none", "channels", "none", "sum", "none", "sum",
    ]  # fmt: skip
    assert [index for index, place in enumerate(places) if place.halves] == [4, 8]
    assert [index for index, place in enumerate(places) if place.keeps] == list(range(0, 17, 2))


def test_pruned_adds_the_layers_that_are_best_together_and_runs_no_later_one():
    learner = make(plan="6,6,6,6")
    images, _ = batch(40)
    layers = learner.layer_logits(images)
    chosen = (layers[1] + layers[2]).argmax(1)
    correct = {
        (first, last): int((sum(layers[first : last + 1]).argmax(1) == chosen).sum())
        for last in range(4)
        for first in range(last + 1)
    }
    assert [run for run, count in correct.items() if count == 40] == [(1, 2)]
    learner.finish([(images[:13], chosen[:13]), (images[13:], chosen[13:])])
    assert learner.run == (1, 2)
    ran = []
    for index, layer in enumerate(learner.layers):
        layer.conv.register_forward_hook(lambda *_, index=index: ran.append(index))
    torch.testing.assert_close(learner.predict(images, "pruned"), layers[1] + layers[2])
    assert ran == [0, 1, 2]
    torch.testing.assert_close(learner.predict(images, "goodness"), sum(layers[1:]))
    assert len(list(learner.parameters("pruned"))) == 3
    again = make(plan="6,6,6,6")
    again.load_state_dict(copy.deepcopy(learner.state_dict()))
    assert again.run == (1, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"plan": "6,8"}, "multiples of the 3 classes, got 8"),
        ({"plan": "6,9", "width": 30}, "width has no effect with plan '6,9'"),
        ({"plan": "resnet17", "width": 6, "pooling": "avg"}, "pooling has no effect with plan 'resnet17'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)
