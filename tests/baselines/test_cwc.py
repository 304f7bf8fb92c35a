import copy
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from baselines.cwc import CwCLearner, CwCSettings
from baselines.cwc_layer import CwCLayer, class_goodness, goodness_loss

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


def plain_loss(goodness, labels, name):
    rows = range(len(labels))
    own = goodness[rows, labels]
    others = torch.stack([goodness[row, [j for j in range(3) if j != labels[row]]].mean() for row in rows])
    pvn = ((1 + (2 - own).exp()).log().mean() + (1 + (others - 2).exp()).log().mean()) / 2
    cross_entropy = -(goodness.softmax(1)[rows, labels]).log().mean()
    return {"ce": cross_entropy, "pvn": pvn, "ce+pvn": 0.28 * cross_entropy + 0.72 * pvn}[name]


@pytest.mark.parametrize("name", ["ce", "pvn", "ce+pvn"])
def test_a_step_equals_plain_gradient_descent_on_every_local_loss(name):
    learner = make(learning_rate=0.1, loss=name)
    torch.nn.init.normal_(learner.head.weight, std=0.1, generator=torch.Generator().manual_seed(3))
    learner.begin_epoch(0)
    images, labels = batch()
    parameters = [[p.detach().clone() for p in layer.parameters()] for layer in learner.layers]
    head = [p.detach().clone().requires_grad_() for p in learner.head.parameters()]
    losses = learner.train_step(images, labels)

    x = images
    for index, old in enumerate(parameters):
        weight, bias, scale, shift = (p.requires_grad_() for p in old)
        y = torch.relu(F.conv2d(x, weight, bias, padding=1, groups=3 if index % 2 else 1))
        if index % 2:
            y = F.max_pool2d(y, 2)
        mean, variance = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), keepdim=True, unbiased=False)
        out = (y - mean) / torch.sqrt(variance + 1e-4) * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)
        goodness = torch.stack([part.pow(2).mean((1, 2, 3)) for part in out.chunk(3, dim=1)], dim=1)
        loss = plain_loss(goodness, labels, name)
        torch.testing.assert_close(losses[f"layer{index + 1}"], loss.detach())
        for new, first, gradient in zip(
            learner.layers[index].parameters(), old, torch.autograd.grad(loss, old), strict=True
        ):
            torch.testing.assert_close(new, first - 0.1 * gradient, rtol=1e-4, atol=1e-6)
        x = out.detach()
    loss = F.cross_entropy(x.flatten(1) @ head[0].T + head[1], labels)
    torch.testing.assert_close(losses["softmax"], loss.detach())
    for new, first, gradient in zip(learner.head.parameters(), head, torch.autograd.grad(loss, head), strict=True):
        torch.testing.assert_close(new, first - 0.1 * gradient, rtol=1e-4, atol=1e-6)


def layer_and_copy(*, groups, pool, bias=0.0):
    """A layer and its copy, in float32, with gamma, beta and running statistics other than the initial ones."""
    generator = torch.Generator().manual_seed(5)
    layer = CwCLayer(4, 6, groups=groups, pool=pool, generator=generator)
    with torch.no_grad():
        for values in (layer.norm.weight, layer.norm.bias, layer.norm.running_mean):
            values.copy_(torch.randn(6, generator=generator))
        layer.norm.running_var.copy_(torch.rand(6, generator=generator) + 0.5)
        layer.conv.bias.fill_(bias)
        layer.conv.bias[0] = -100.0  # a channel that is 0 everywhere
    return layer.to(memory_format=torch.channels_last), copy.deepcopy(layer)


def assert_equal_competition(fast, simple, images, tolerance):
    """Output, goodness, gradients and running statistics of ``compete``, against BatchNorm's and autograd's."""
    generator = torch.Generator().manual_seed(6)
    weights = torch.randn(len(images), 3, generator=generator)
    out, goodness = fast.compete(images.contiguous(memory_format=torch.channels_last), 3)
    expected = simple(images.to(simple.conv.weight.dtype))
    (goodness * weights).sum().backward()
    (class_goodness(expected, 3) * weights).sum().backward()

    def close(one, other, name):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance, check_dtype=False, msg=name)

    close(out, expected, "out")
    close(goodness, class_goodness(expected, 3), "goodness")
    assert out.is_contiguous(memory_format=torch.channels_last)
    for (name, one), other in zip(fast.named_parameters(), simple.parameters(), strict=True):
        close(one.grad, other.grad, name)
    for (name, one), other in zip(fast.named_buffers(), simple.buffers(), strict=True):
        close(one, other, name)


def some_images(seed=7):
    return torch.randn(5, 4, 6, 6, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_what_a_layer_competes_with_equals_batch_norm_and_the_squares_of_its_output(groups, pool):
    fast, simple = (layer.double() for layer in layer_and_copy(groups=groups, pool=pool))
    assert_equal_competition(fast, simple, some_images().double(), 1e-10)


def test_the_sums_keep_their_digits_where_the_mean_is_far_above_the_deviation():
    fast, simple = layer_and_copy(groups=1, pool=False, bias=10.0)
    assert_equal_competition(fast, simple.double(), some_images(), 1e-3)


def test_half_precision_rounds_the_activations_and_nothing_else():
    half, exact = layer_and_copy(groups=1, pool=True, bias=3.0)
    images = some_images()
    out, goodness = exact.compete(images, 3)
    goodness.sum().backward()
    with torch.autocast("cpu", torch.bfloat16):
        half_out, half_goodness = half.compete(images, 3)
    half_goodness.sum().backward()
    assert (half_out.dtype, half_goodness.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(half_out.float(), out, rtol=5e-2, atol=5e-2)
    torch.testing.assert_close(half_goodness, goodness, rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(half.norm.bias.grad, exact.norm.bias.grad, rtol=2e-2, atol=2e-2)


def test_a_channel_with_one_value_trains():
    learner = make(channels=(3,) * 6, train_until=(1.0,) * 6, learning_rate=0.1)  # images of 8 x 8 end as one pixel
    learner.begin_epoch(0)
    last, first = learner.layers[-1].norm, learner.layers[0].conv.weight.detach().clone()
    with torch.no_grad():
        last.bias.copy_(torch.tensor([0.5, 1.0, 1.5]))
    images, labels = batch(1)
    losses = learner.train_step(images, labels)
    # A batch of one value per channel is its own mean: what is left of it is beta.
    assert losses["layer6"].item() == pytest.approx(
        F.cross_entropy(torch.tensor([[0.25, 1.0, 2.25]]), labels).item(), rel=1e-3
    )
    torch.testing.assert_close(last.running_var, torch.full((3,), 0.9))
    assert not torch.equal(learner.layers[0].conv.weight, first)


def test_the_head_may_have_a_learning_rate_of_its_own():
    moved = {}
    for rate in (None, 0.1, 0.01):
        learner = make(learning_rate=0.1, head_learning_rate=rate)
        learner.begin_epoch(0)
        learner.train_step(*batch())
        moved[rate] = learner.head.weight.clone(), learner.layers[0].conv.weight.clone()
    assert all(torch.equal(*pair) for pair in zip(moved[None], moved[0.1], strict=True))
    torch.testing.assert_close(moved[0.01][0], 0.1 * moved[0.1][0])  # the head is zero at first
    assert torch.equal(moved[0.01][1], moved[0.1][1])


def test_plain_blocks_have_no_groups():
    assert [layer.conv.groups for layer in make(blocks="plain").layers] == [1, 1, 1, 1]
    assert [layer.conv.groups for layer in make(blocks="cfse").layers] == [1, 3, 1, 3]


@pytest.mark.parametrize(("every", "pools"), [(1, [True] * 3), (2, [False, True, False]), (3, [False, False, True])])
def test_layers_pool_as_often_as_the_settings_say(every, pools):
    learner = make(channels=(3, 6, 9), train_until=(0.5, 0.75, 1.0), pool_every=every)
    assert [layer.pool for layer in learner.layers] == pools


def test_deep_networks_fit_where_layers_pool_seldom():
    deep = {"channels": (3,) * 14, "train_until": (1.0,) * 14}
    with pytest.raises(ValueError, match="pool images of"):
        make(**deep)
    make(**deep, pool_every=5).train_step(*batch())


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
    assert [window.stop for window in learner._windows] == [10, 15, 19, 23]
    assert [window.start for window in learner._windows] == [0, 0, 0, 0]


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


def test_pvn_and_its_mixture_by_hand():
    goodness, labels = torch.tensor([[3.0, 1.0, 0.0], [0.5, 0.0, 2.5]]), torch.tensor([0, 1])

    def softplus(x):
        return math.log1p(math.exp(x))

    positive, negative = (softplus(2 - 3.0) + softplus(2 - 0.0)) / 2, (softplus(0.5 - 2) + softplus(1.5 - 2)) / 2
    pvn = (positive + negative) / 2
    cross_entropy = F.cross_entropy(goodness, labels).item()
    assert goodness_loss(goodness, labels, "pvn").item() == pytest.approx(pvn)
    assert goodness_loss(goodness, labels, "ce").item() == cross_entropy
    assert goodness_loss(goodness, labels, "ce+pvn").item() == pytest.approx(0.28 * cross_entropy + 0.72 * pvn)


SUPERCLASSED = SimpleNamespace(shape=(1, 8, 8), classes=4, superclasses=(1, 0, 0, 1))


def make_superclassed(task=SUPERCLASSED, **settings):
    options = {"channels": (2, 6, 8), "train_until": (0.5, 0.5, 1.0), "superclass_layers": 2}
    budget = SimpleNamespace(epochs=4, steps_per_epoch=10)
    made = CwCSettings(**options | settings)
    return CwCLearner(task, made, budget, torch.device("cpu"), torch.Generator().manual_seed(0))


def test_the_first_layers_compete_for_superclasses():
    learner = make_superclassed()
    learner.begin_epoch(0)
    images, _ = batch()
    labels = torch.randint(4, (12,), generator=torch.Generator().manual_seed(2))
    learner.layers[0].train()
    goodness = class_goodness(learner.layers[0](images), 2)
    superclass = torch.tensor([SUPERCLASSED.superclasses[label] for label in labels.tolist()])
    losses = learner.train_step(images, labels)
    torch.testing.assert_close(losses["layer1"], F.cross_entropy(goodness, superclass).detach())
    assert learner.layers[1].conv.groups == 2
    by_layer = learner.layer_logits(images)
    assert [logits.shape for logits in by_layer] == [(12, 4)] * 3
    assert torch.equal(by_layer[0][:, 1], by_layer[0][:, 2])
    assert not torch.equal(by_layer[2][:, 1], by_layer[2][:, 2])


def test_windows_may_begin_later_and_the_head_comes_last():
    learner = make_superclassed(train_from=(0.0, 0.0, 0.5), head_from=0.75)
    trained = []
    for epoch in range(4):
        learner.begin_epoch(epoch)
        trained.append(sorted(learner.train_step(*batch())))
    assert trained == [["layer1", "layer2"], ["layer1", "layer2"], ["layer3"], ["layer3", "softmax"]]


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        (TASK, {}, "needs a task whose classes have superclasses"),
        (SUPERCLASSED, {"superclass_layers": 4}, r"at most the number of layers \(3\), got 4"),
        (SUPERCLASSED, {"channels": (2, 5, 8)}, "multiples of the 2 classes, got 5"),
        (SUPERCLASSED, {"train_from": (0.5,)}, r"train_from needs one value per layer \(3\), got 1"),
    ],
)
def test_superclasses_and_windows_that_do_not_fit_are_refused(task, settings, message):
    with pytest.raises(ValueError, match=message):
        make_superclassed(task, **settings)


@pytest.mark.parametrize("epochs", range(1, 7))
def test_every_layer_and_the_head_train_however_short_the_training(epochs):
    budget = SimpleNamespace(epochs=epochs, steps_per_epoch=1)
    shares = {"train_from": (0, 0.3, 0.6), "train_until": (0.3, 0.6, 0.85), "head_from": 0.85}
    learner = CwCLearner(
        TASK, CwCSettings(channels=(3, 6, 9), **shares), budget, torch.device("cpu"), torch.Generator().manual_seed(0)
    )
    trained = set()
    for epoch in range(epochs):
        learner.begin_epoch(epoch)
        trained |= set(learner.train_step(*batch()))
    assert trained == {"layer1", "layer2", "layer3", "softmax"}


def test_a_window_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValueError, match=r"cannot train from 0.6 until 0.5"):
        make_superclassed(train_from=(0.0, 0.6, 0.0))


def test_the_head_may_read_the_mean_over_each_map():
    learner = make(head="pooled")
    images, labels = batch()
    learner.train_step(images, labels)
    x = images
    for layer in learner.layers:
        x = layer.eval()(x)
    expected = x.mean((2, 3)) @ learner.head.weight.T + learner.head.bias
    torch.testing.assert_close(learner.predict(images, "softmax"), expected)
    assert learner.head.weight.shape == (3, 12)


def test_best_predicts_with_the_layer_that_validation_images_choose():
    learner = make()
    images, _ = batch()
    layers = learner.layer_logits(images)
    chosen = layers[1].argmax(1)  # labels that the second layer alone gets all right
    assert all((logits.argmax(1) != chosen).any() for logits in (layers[0], *layers[2:]))
    learner.finish([(images[:5], chosen[:5]), (images[5:], chosen[5:])])
    assert learner.best_layer == 1
    ran = []
    for index, layer in enumerate(learner.layers):
        layer.register_forward_hook(lambda *_, index=index: ran.append(index))
    torch.testing.assert_close(learner.predict(images, "best"), layers[1])
    assert ran == [0, 1]
    assert [p.data_ptr() for p in learner.parameters("best")] == [
        p.data_ptr() for layer in learner.layers[:2] for p in layer.parameters()
    ]
    again = make()
    again.load_state_dict(copy.deepcopy(learner.state_dict()))
    assert again.best_layer == 1
