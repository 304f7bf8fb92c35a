import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from baselines.forward_forward import ForwardForwardLearner, ForwardForwardSettings, hard_labels, wrong_labels
from baselines.forward_forward_bodies import normalize_length, overlay

TASK = SimpleNamespace(shape=(1, 4, 4), classes=3)
BUDGET = SimpleNamespace(epochs=1, steps_per_epoch=10)


def make(**settings):
    options = {"hidden": (8, 7, 6), "optimiser": "sgd", "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}
    if "plan" in settings:
        del options["hidden"]
    generator = torch.Generator().manual_seed(0)
    return ForwardForwardLearner(
        TASK, ForwardForwardSettings(**options | settings), BUDGET, torch.device("cpu"), generator
    )


def batch(size=12):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 1, 4, 4, generator=generator), torch.randint(3, (size,), generator=generator)


def test_a_negative_never_has_the_true_label_and_all_others_occur():
    labels = torch.arange(10).repeat(500)
    wrong = wrong_labels(labels, 10, torch.Generator().manual_seed(0))
    assert not (wrong == labels).any()
    for label in range(10):
        assert set(wrong[labels == label].tolist()) == set(range(10)) - {label}


def test_overlay_replaces_the_first_values_and_leaves_its_input():
    flat = torch.arange(8.0).view(2, 4)
    out = overlay(flat, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert out.tolist() == [[1, 0, 2, 3], [0, 1, 6, 7]]
    assert flat.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_normalised_rows_have_root_mean_square_one_and_zero_stays_zero():
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    rms = (12.5) ** 0.5
    torch.testing.assert_close(normalize_length(x), torch.tensor([[3 / rms, 4 / rms], [0.0, 0.0]]))


def relu(z, kind):
    return torch.relu(z) if kind == "exact" else z + (torch.relu(z) - z).detach()


@pytest.mark.parametrize(("halves", "kind"), [("sum", "exact"), ("mean", "exact"), ("sum", "passing")])
def test_a_step_equals_plain_gradient_descent_on_every_local_loss(halves, kind):
    learner = make(learning_rate=0.1, peer_normalization=0.5, peer_momentum=0.9, halves=halves, relu=kind)
    torch.nn.init.normal_(learner.read_out.weight, std=0.1, generator=torch.Generator().manual_seed(3))
    images, labels = batch()
    read_out = learner.read_out.weight.detach().clone().requires_grad_()
    weights = [(layer.weight.detach().clone(), layer.bias.detach().clone()) for layer in learner.body.layers]
    generator = torch.Generator().manual_seed(7)
    learner._generator.set_state(generator.get_state())
    losses = learner.train_step(images, labels)

    neutral = images.flatten(1).clone()
    neutral[:, :3] = 1 / 3
    features = []
    for weight, bias in weights:
        neutral = torch.relu(neutral / neutral.pow(2).mean(1, keepdim=True).sqrt() @ weight.T + bias)
        features.append(neutral / neutral.pow(2).mean(1, keepdim=True).sqrt())
    loss = F.cross_entropy(torch.cat(features[1:], 1) @ read_out.T, labels)
    torch.testing.assert_close(losses["softmax"], loss.detach())
    (gradient,) = torch.autograd.grad(loss, read_out)
    torch.testing.assert_close(learner.read_out.weight, read_out - 0.1 * gradient)

    wrong = wrong_labels(labels, 3, torch.Generator().manual_seed(7))
    positive, negative = images.flatten(1).clone(), images.flatten(1).clone()
    positive[:, :3] = torch.eye(3)[labels]
    negative[:, :3] = torch.eye(3)[wrong]
    for index, (weight, bias) in enumerate(weights):
        weight.requires_grad_()
        bias.requires_grad_()
        h_pos = relu(positive / positive.pow(2).mean(1, keepdim=True).sqrt() @ weight.T + bias, kind)
        h_neg = relu(negative / negative.pow(2).mean(1, keepdim=True).sqrt() @ weight.T + bias, kind)
        theta = h_pos.shape[1]
        p_pos = torch.sigmoid(h_pos.pow(2).sum(1) - theta)
        p_neg = torch.sigmoid(h_neg.pow(2).sum(1) - theta)
        mean = 0.9 * 0.5 + 0.1 * h_pos.mean(0)
        peer = ((mean - mean.mean()) ** 2).mean()
        share = 1 if halves == "sum" else 0.5
        loss = share * (-p_pos.log().mean() - (1 - p_neg).log().mean()) + 0.5 * peer
        torch.testing.assert_close(losses[f"layer{index + 1}"], loss.detach())
        grad_weight, grad_bias = torch.autograd.grad(loss, (weight, bias))
        torch.testing.assert_close(learner.body.layers[index].weight, weight - 0.1 * grad_weight)
        torch.testing.assert_close(learner.body.layers[index].bias, bias - 0.1 * grad_bias)
        positive, negative = h_pos.detach(), h_neg.detach()


@torch.no_grad()
@pytest.mark.parametrize("label_value", [1.0, 2.5])
def test_goodness_prediction_equals_one_pass_per_label(label_value):
    learner = make(label_value=label_value)
    images, _ = batch()
    expected = torch.zeros(len(images), 3)
    for label in range(3):
        x = images.flatten(1).clone()
        x[:, :3] = label_value * torch.eye(3)[label]
        for depth, layer in enumerate(learner.body.layers):
            x = torch.relu(layer(normalize_length(x)))
            if depth > 0:
                expected[:, label] += x.pow(2).sum(1)
    torch.testing.assert_close(learner.predict(images, "goodness"), expected)


@torch.no_grad()
def test_softmax_prediction_uses_the_neutral_label_and_all_but_the_first_layer():
    learner = make()
    torch.nn.init.normal_(learner.read_out.weight)
    images, _ = batch()
    x = images.flatten(1).clone()
    x[:, :3] = 1 / 3
    features = []
    for layer in learner.body.layers:
        x = torch.relu(layer(normalize_length(x)))
        features.append(normalize_length(x))
    expected = torch.cat(features[1:], 1) @ learner.read_out.weight.T
    torch.testing.assert_close(learner.predict(images, "softmax"), expected)


def test_images_smaller_than_the_label_are_refused():
    with pytest.raises(ValueError, match="3 label values into images of 2 values"):
        ForwardForwardLearner(
            SimpleNamespace(shape=(2, 1, 1), classes=3),
            ForwardForwardSettings(),
            BUDGET,
            torch.device("cpu"),
            torch.Generator(),
        )


def test_read_out_learns_from_the_cross_entropy_of_the_softmax_prediction():
    learner = make(learning_rate=0.1)
    images, labels = batch()
    loss = learner.train_step(images, labels)["softmax"]
    torch.testing.assert_close(loss, F.cross_entropy(torch.zeros(12, 3), labels))


def test_the_read_out_may_have_a_learning_rate_of_its_own():
    moved = {}
    for rate in (None, 0.1, 0.01):
        learner = make(learning_rate=0.1, head_learning_rate=rate)
        learner.train_step(*batch())
        moved[rate] = learner.read_out.weight.clone(), learner.body.layers[0].weight.clone()
    assert all(torch.equal(*pair) for pair in zip(moved[None], moved[0.1], strict=True))
    torch.testing.assert_close(moved[0.01][0], 0.1 * moved[0.1][0])  # the read-out is zero at first
    assert torch.equal(moved[0.01][1], moved[0.1][1])


def test_the_read_out_may_have_a_weight_decay_of_its_own():
    plain, decayed = make(learning_rate=0.1), make(learning_rate=0.1, head_weight_decay=0.5)
    images, labels = batch()
    for _ in range(3):
        before = decayed.read_out.weight.detach().clone()
        plain.read_out.weight.data.copy_(before)
        for learner in (plain, decayed):
            learner._generator.manual_seed(3)
            learner.train_step(images, labels)
        torch.testing.assert_close(decayed.read_out.weight, plain.read_out.weight - 0.1 * 0.5 * before)
        assert torch.equal(decayed.body.layers[0].weight, plain.body.layers[0].weight)


def test_hard_negatives_are_drawn_as_the_model_errs_and_never_have_the_true_label():
    logits = torch.tensor([[2.0, 1.0, 0.0], [-1e4, 0.0, -1e4]]).repeat_interleave(3000, 0)
    labels = torch.tensor([0, 1]).repeat_interleave(3000)
    drawn = hard_labels(labels, logits, torch.Generator().manual_seed(0))
    assert not (drawn == labels).any()
    share = (drawn[:3000] == 1).float().mean().item()
    assert share == pytest.approx(math.e / (1 + math.e), abs=0.03)
    assert set(drawn[3000:].tolist()) == {0, 2}  # a certain prediction leaves no preference among the others


def test_with_hard_negatives_a_step_uses_labels_that_the_read_out_prefers():
    learner = make(negatives="hard", learning_rate=0.1)
    images, labels = batch()
    torch.nn.init.normal_(learner.read_out.weight, std=5, generator=torch.Generator().manual_seed(3))
    learner._generator.manual_seed(7)
    expected = hard_labels(labels, learner.predict(images, "softmax"), torch.Generator().manual_seed(7))
    learner._generator.manual_seed(7)
    assert torch.equal(learner._wrong(images, labels), expected)
    assert all(torch.isfinite(loss) for loss in learner.train_step(images, labels).values())


def make_convolutional(**settings):
    return make(plan="4,M,5s,6", **settings)


@pytest.mark.parametrize("label", ["planes", "pattern"])
@pytest.mark.parametrize(("goodness", "name"), [("sum", "threshold"), ("mean", "threshold"), ("mean", "symba")])
def test_a_convolutional_step_equals_plain_gradient_descent_on_every_local_loss(goodness, name, label):
    of_loss = {"symba_scale": 3.0} if name == "symba" else {"threshold": 0.7}
    learner = make_convolutional(
        goodness=goodness, loss=name, label=label, learning_rate=0.1, peer_normalization=0.5, **of_loss
    )
    images, labels = batch()
    layers = learner.body.layers
    weights = [(conv.weight.detach().clone(), conv.bias.detach().clone()) for conv in layers]
    learner._generator.manual_seed(7)
    losses = learner.train_step(images, labels)

    wrong = wrong_labels(labels, 3, torch.Generator().manual_seed(7))
    x = []
    patterns = learner.body.patterns
    for each in (labels, wrong):
        planes = torch.zeros(12, 3 if patterns is None else 1, 4, 4)
        for sample, hot in enumerate(each.tolist()):
            planes[sample, hot if patterns is None else 0] = 1 if patterns is None else patterns[hot].view(4, 4)
        x.append(torch.cat([images, planes], 1))
    for index, (weight, bias) in enumerate(weights):
        weight.requires_grad_()
        bias.requires_grad_()
        stride = 2 if index == 1 else 1
        normed = [part / (part.pow(2).mean((1, 2, 3), keepdim=True).sqrt() + 1e-8) for part in x]
        h = [torch.relu(F.conv2d(part, weight, bias, padding=1, stride=stride)) for part in normed]
        if goodness == "sum":
            margins = [part.pow(2).sum((1, 2, 3)) - 0.7 * part[0].numel() for part in h]
        else:
            margins = [part.pow(2).mean((1, 2, 3)) - 0.7 for part in h]
        mean = 0.9 * 0.5 + 0.1 * h[0].mean((0, 2, 3))
        if name == "symba":
            loss = (1 + (-3 * (margins[0] - margins[1])).exp()).log().mean()
        else:
            loss = F.softplus(-margins[0]).mean() + F.softplus(margins[1]).mean()
        loss = loss + 0.5 * (mean - mean.mean()).pow(2).mean()
        torch.testing.assert_close(losses[f"layer{index + 1}"], loss.detach())
        grad_weight, grad_bias = torch.autograd.grad(loss, (weight, bias))
        torch.testing.assert_close(layers[index].weight, weight - 0.1 * grad_weight, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(layers[index].bias, bias - 0.1 * grad_bias, rtol=1e-4, atol=1e-5)
        x = [F.avg_pool2d(part.detach() ** 2, 2).sqrt() if index == 0 else part.detach() for part in h]


def test_convolutional_goodness_under_each_label_in_parts_is_the_same(monkeypatch):
    learner = make_convolutional()
    images, _ = batch()
    whole = learner.predict(images, "goodness")
    monkeypatch.setattr("baselines.forward_forward.ELEMENTS", 5 * 3 * learner.body.largest)
    torch.testing.assert_close(learner.predict(images, "goodness"), whole)
    by_label = [learner.body.labelled(images, hot) for hot in torch.eye(3)]
    expected = [sum(h.pow(2).sum((1, 2, 3)) for h in list(learner._activities(x))[1:]) for x in by_label]
    torch.testing.assert_close(whole, torch.stack(expected, 1))


@torch.no_grad()
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"plan": "4s,M,6", "label_value": 3.0},
        {"plan": "4,6", "label_value": 0.5},
        {"plan": "4,6", "label_value": 0.5, "label": "pattern"},
    ],
)
def test_the_first_layer_under_all_labels_is_that_under_each(options):
    learner = make(**options)
    learner.body.layers[0].bias.copy_(torch.arange(len(learner.body.layers[0].bias)) / 10 - 0.2)
    images, _ = batch()
    found = learner.body.activate_under_all(images, learner.settings.label_value)
    for label, hot in enumerate(learner.settings.label_value * torch.eye(3)):
        expected = learner.body.activate(0, learner.body.labelled(images, hot))
        torch.testing.assert_close(found[label::3], expected)


def test_convolutions_with_a_thousand_classes_predict():
    task = SimpleNamespace(shape=(3, 27, 31), classes=1000)
    settings = ForwardForwardSettings(plan="8,M,8,M")
    learner = ForwardForwardLearner(task, settings, BUDGET, torch.device("cpu"), torch.Generator().manual_seed(0))
    images, labels = torch.randn(4, 3, 27, 31), torch.arange(4) * 300
    learner.train_step(images, labels)
    assert learner.predict(images, "goodness").shape == (4, 1000)


def test_a_single_class_is_refused_in_a_sentence():
    task = SimpleNamespace(shape=(1, 4, 4), classes=1)
    with pytest.raises(ValueError, match="needs two classes at least, got 1"):
        ForwardForwardLearner(task, ForwardForwardSettings(), BUDGET, torch.device("cpu"), torch.Generator())


def test_goodness_keeps_its_digits_under_bfloat16():
    h = (torch.rand(3, 40, 7, 7, generator=torch.Generator().manual_seed(5)) + 1).bfloat16()
    exact = h.double().flatten(1)
    torch.testing.assert_close(make()._goodness(h).double(), exact.square().sum(1), rtol=1e-6, atol=0)
    expected = exact / exact.square().mean(1, keepdim=True).sqrt()
    torch.testing.assert_close(normalize_length(h).double().flatten(1), expected, rtol=1e-6, atol=0)
