"""Contract of methods with observable layers: watching changes nothing, no gradient crosses a layer."""

import itertools

import pytest
import torch
from variants import batches, build, outputs, train

from bench.methods import Goodness, Inspectable, Observable, PerLayer


def test_layers_predict_if_they_say_so(variant):
    learner, _ = build(variant)
    if isinstance(learner, PerLayer):
        images, _ = next(batches(0, learner))
        for logits in learner.layer_logits(images):
            assert logits.shape == (16, 10)
            assert not logits.requires_grad


def test_layers_can_be_watched_if_they_say_so_and_watching_changes_nothing(variant):
    watched, blind = build(variant)[0], build(variant)[0]
    if not isinstance(watched, Observable):
        return
    calls = []
    watched.on_layer = lambda: calls.append(None)
    images, labels = next(batches(0, watched))
    for learner in (watched, blind):
        learner.begin_epoch(0)
        learner.train_step(images, labels)
    if isinstance(watched, PerLayer):
        assert len(calls) == len(watched.layer_logits(images))
    if isinstance(watched, Goodness):
        goodness = watched.layer_goodness(images)
        assert len(goodness) == len(calls)
        assert all(value.dim() == 0 and value >= 0 for value in goodness)
    for strategy, logits in outputs(watched).items():
        assert torch.equal(logits, outputs(blind)[strategy])


def updates(variant, changed=None):
    """Change of each trained tensor over two steps, after a little noise on the one of index ``changed``."""
    learner, _ = build(variant)
    tensors = list(learner.parameters())
    if changed is not None:
        noise = torch.Generator().manual_seed(changed)
        tensors[changed].data += 0.05 * torch.randn(tensors[changed].shape, generator=noise).to(tensors[changed].device)
    before = [tensor.detach().clone() for tensor in tensors]
    learner.begin_epoch(0)
    for images, labels in itertools.islice(batches(0, learner), 2):
        learner.train_step(images, labels)
    return [after.detach() - start for after, start in zip(tensors, before, strict=True)]


def reached(variant):
    """For each trained tensor, the indices of those whose updates depend on it."""
    plain = updates(variant)
    return [
        {i for i, (a, b) in enumerate(zip(plain, updates(variant, changed), strict=True)) if not torch.equal(a, b)}
        for changed in range(len(plain))
    ]


def layer_of_each(learner):
    """The layer in whose part of a step each trained tensor changes first or gets a gradient; last if in none."""
    tensors = list(learner.parameters())
    noise = torch.Generator().manual_seed(0)
    for tensor in tensors:  # behind weights that begin with zeros there would be no gradient
        tensor.data += 0.05 * torch.randn(tensor.shape, generator=noise).to(tensor.device)
    before = [tensor.detach().clone() for tensor in tensors]
    layers, ended = {}, 0

    def end_of_layer():
        nonlocal ended
        for index, (tensor, start) in enumerate(zip(tensors, before, strict=True)):
            if (tensor.grad is not None and tensor.grad.any()) or not torch.equal(tensor, start):
                layers.setdefault(index, ended)
        ended += 1

    learner.on_layer = end_of_layer
    learner.begin_epoch(0)
    learner.train_step(*next(batches(0, learner)))
    return [layers.get(index, ended) for index in range(len(tensors))], ended


def test_no_gradient_crosses_from_one_layer_to_the_layers_before(variant):
    learner, _ = build(variant)
    if not isinstance(learner, Observable):
        return
    if variant[1].get("negatives") == "hard":
        pytest.skip("hard negatives are labels that the whole network predicts: no gradient, but a way back")
    layers, count = layer_of_each(learner)
    assert set(range(count)) <= set(layers)
    for layer, others in zip(layers, reached(variant), strict=True):
        assert all(layers[other] >= layer for other in others)


def test_gradients_that_cross_layers_are_found_where_there_are_some():
    found = reached(("backprop", {"plan": "8,M,16"}, torch.device("cpu")))
    assert 0 in found[-1]


def test_what_layers_have_to_show_are_lists_of_numbers_and_showing_changes_nothing(variant):
    shown, blind = build(variant)[0], build(variant)[0]
    if not isinstance(shown, Inspectable):
        return
    for learner in (shown, blind):
        train(learner, [0])
    for of_layers in shown.layer_values(batches(9, shown)).values():
        assert of_layers
        assert all(values.dim() == 1 and torch.isfinite(values).all() for values in of_layers)
    for learner in (shown, blind):
        train(learner, [1])
    for strategy, logits in outputs(shown).items():
        assert torch.equal(logits, outputs(blind)[strategy])
