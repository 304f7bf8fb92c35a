"""The checks that every registered method has to pass, whoever wrote it."""

import itertools
from types import SimpleNamespace

import pytest
import torch

from bench import methods, settings
from bench.measure.determinism import deterministic
from bench.methods import Beginner, Conditional, Examinable, Goodness, Inspectable, Observable, PerLayer

TASK = SimpleNamespace(shape=(1, 8, 8), classes=10)
EPOCHS, STEPS = 2, 4
SMALL = {
    "asge": [
        {"plan": "8,M,16"},
        {"plan": "8,M,16", "gating": "gct"},
        {"plan": "8s,16", "affine": True, "classifier_epochs": 1, "optimiser": "sgd", "learning_rate": 0.1},
    ],
    "backprop": [
        {"plan": "8,M,16"},
        {"plan": "8,M,16", "gating": "gct-l1", "gating_where": "block", "affine": True},
        {"plan": "8,M,16", "gating": "se"},
        {"topology": "vgg", "plan": "8,M,16", "hidden": [12], "dropout": 0.2, "accumulate": 2},
    ],
    "local-error": [
        {"plan": "8,M,16"},
        {"signal": "pred", "topology": "asge", "plan": "8,M,16", "affine": True},
        {"signal": "sim", "plan": "8,M,16", "hidden": [12], "dropout": 0.2},
    ],
    "ff": [{"hidden": [32, 32]}, {"plan": "8,M,16", "negatives": "hard", "goodness": "mean", "learning_rate": 1e-2}],
    "conv-aig": [
        {"architecture": "cifar-8", "target": 0.2, "rate_weight": 10.0, "learning_rate": 0.05, "schedule": "constant"},
        {"architecture": "cifar-8", "width": 0.5, "gating": "none", "learning_rate": 0.02},
        {"architecture": "cifar-8", "width": 0.5, "learning_rate": 0.02, "gate_learning_rate": 0.1},
        {"architecture": "cifar-8", "width": 0.5, "learning_rate": 0.02, "evaluation": "sample"},
    ],
    "bas": [
        {"architecture": "cifar-8", "shaping_until": 1.0, "l0_from": 0.0, "l0_until": 0.0, "learning_rate": 0.02},
        {"architecture": "cifar-8", "gating": "saliency", "learning_rate": 0.02},
    ],
    "asge-gated": [
        {
            "plan": "8,M,16",
            "shaping_until": 1.0,
            "l0_from": 0.0,
            "l0_until": 0.0,
            "l0_weight": 1.0,
            "learning_rate": 0.01,
        }
    ],
    "cwc": [
        {"channels": [10, 20], "train_until": [0.5, 1.0]},
        {"channels": [10, 20], "train_until": [1.0, 1.0], "blocks": "plain", "loss": "ce+pvn"},
        {"channels": [10, 20], "train_until": [1.0, 1.0], "head_learning_rate": 1e-3, "schedule": "cosine"},
    ],
}
"""Settings that make a method small, and such as take another way through its code."""
DEVICES = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
VARIANTS = [
    (name, values, device) for device in DEVICES for name in methods.names() for values in SMALL.get(name, [{}])
]


def build(variant, seed=0):
    name, values, device = variant
    generator = torch.Generator().manual_seed(seed)
    budget = SimpleNamespace(epochs=EPOCHS, steps_per_epoch=STEPS)
    made = settings.make(name, values)
    return methods.get(name).build(TASK, made, budget, device, generator), generator


def batches(epoch, learner, size=16):
    """The same images whatever the device, on the learner's."""
    device = next(iter(learner.parameters())).device
    generator = torch.Generator().manual_seed(100 + epoch)
    for step in range(STEPS):
        count = size if step < STEPS - 1 else 5
        labels = torch.randint(10, (count,), generator=generator)
        images = torch.randn(count, 1, 8, 8, generator=generator) + labels.view(-1, 1, 1, 1) / 5
        yield images.to(device), labels.to(device)


def train(learner, epochs):
    for epoch in epochs:
        learner.begin_epoch(epoch)
        for images, labels in batches(epoch, learner):
            learner.train_step(images, labels)
        learner.finish(batches(9, learner))


def outputs_of(learner, strategy):
    images, _ = next(batches(5, learner))
    return learner.predict(images, strategy)


def outputs(learner):
    return {strategy: outputs_of(learner, strategy) for strategy in learner.strategies}


def describe(variant):
    name, values, device = variant
    return "-".join([name, *map(str, values.values()), *(["cuda"] if device.type == "cuda" else [])])


@pytest.fixture(params=VARIANTS, ids=describe)
def variant(request):
    with deterministic(request.param[2]):
        yield request.param


def test_strategies_are_declared_by_the_method_and_give_logits_without_gradient(variant):
    learner, _ = build(variant)
    assert tuple(learner.strategies) == tuple(methods.get(variant[0]).strategies)
    learner.finish(batches(9, learner))
    for logits in outputs(learner).values():
        assert logits.shape == (16, 10)
        assert logits.dtype == torch.float32
        assert not logits.requires_grad


def test_layers_predict_if_they_say_so(variant):
    learner, _ = build(variant)
    if isinstance(learner, PerLayer):
        images, _ = next(batches(0, learner))
        for logits in learner.layer_logits(images):
            assert logits.shape == (16, 10)
            assert not logits.requires_grad


def test_one_pass_shows_what_single_calls_do_to_the_bit(variant):
    learner, _ = build(variant)
    if not isinstance(learner, Examinable):
        return
    learner.finish(batches(9, learner))
    images, _ = next(batches(0, learner))
    seen = learner.examine(images)
    assert tuple(seen.strategies) == tuple(learner.strategies)
    single = [learner.predict(images, strategy) for strategy in learner.strategies]
    single += learner.layer_logits(images) if isinstance(learner, PerLayer) else []
    single += learner.layer_goodness(images) if isinstance(learner, Goodness) else []
    shown = [*seen.strategies.values(), *seen.layers, *seen.goodness]
    assert all(torch.equal(a, b) and not a.requires_grad for a, b in zip(shown, single, strict=True))


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
    """What two steps change each trained tensor by, after a little noise on the one of index ``changed``."""
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


def test_steps_on_one_batch_lower_its_losses(variant):
    learner, _ = build(variant)
    learner.begin_epoch(0)
    images, labels = next(batches(0, learner))
    first = learner.train_step(images, labels)
    for _ in range(30):
        last = learner.train_step(images, labels)
    for key, loss in first.items():
        assert loss.dim() == 0
        assert not loss.requires_grad
        assert last[key] < loss, key


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_same_seed_same_bits_other_seed_other_bits(variant):
    results = []
    for seed in (0, 0, 1):
        learner, _ = build(variant, seed)
        train(learner, range(EPOCHS))
        results.append(outputs(learner))
    first, again, other = results
    assert all(torch.equal(first[s], again[s]) for s in first)
    assert any(not torch.equal(first[s], other[s]) for s in first)


def test_nothing_random_comes_from_outside_the_generator(variant):
    torch.manual_seed(1)
    first, _ = build(variant)
    train(first, range(1))
    torch.manual_seed(2)
    second, _ = build(variant)
    train(second, range(1))
    for strategy, logits in outputs(first).items():
        assert torch.equal(logits, outputs(second)[strategy])


def test_save_load_continue_equals_not_stopping(variant, tmp_path):
    straight, _ = build(variant)
    train(straight, range(EPOCHS))

    before, generator = build(variant)
    train(before, range(1))
    torch.save({"learner": before.state_dict(), "generator": generator.get_state()}, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    after, generator = build(variant, seed=7)
    after.load_state_dict(state["learner"])
    generator.set_state(state["generator"])
    train(after, range(1, EPOCHS))

    for strategy, logits in outputs(straight).items():
        assert torch.equal(logits, outputs(after)[strategy]), strategy


def test_choosing_and_predicting_change_no_weight_and_no_later_step(variant):
    looked, _ = build(variant)
    blind, _ = build(variant)
    for epoch in range(EPOCHS):
        looked.begin_epoch(epoch)
        blind.begin_epoch(epoch)
        for images, labels in batches(epoch, looked):
            looked.train_step(images, labels)
            blind.train_step(images, labels)
            looked.finish(batches(9, looked))
            outputs(looked)
    for a, b in zip(looked.parameters(), blind.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_batch_of_nan_gives_a_loss_that_is_not_finite(variant):
    learner, _ = build(variant)
    learner.begin_epoch(0)
    images, labels = next(batches(0, learner))
    losses = learner.train_step(torch.full_like(images, torch.nan), labels)
    losses = {**losses, **learner.train_step(images, labels)}
    assert any(not torch.isfinite(loss) for loss in losses.values())


def test_the_callers_batch_is_not_changed(variant):
    learner, _ = build(variant)
    learner.begin_epoch(0)
    images, labels = next(batches(0, learner))
    kept = images.clone()
    learner.train_step(images, labels)
    outputs_before = images.clone()
    for strategy in learner.strategies:
        learner.predict(images, strategy)
    assert torch.equal(images, kept)
    assert torch.equal(outputs_before, kept)


def test_work_that_depends_on_the_image_is_of_each_image(variant):
    learner, _ = build(variant)
    if not isinstance(learner, Conditional):
        return
    train(learner, [0])
    images, _ = next(batches(0, learner))
    macs, layers = learner.executed_macs(images), learner.executed_layers(images)
    assert macs.shape == (16,)
    assert layers.dim() == 2
    assert len(layers) == 16
    assert not macs.requires_grad
    assert not layers.requires_grad
    assert (macs > 0).all()
    assert ((layers >= 0) & (layers <= 1)).all()
    torch.testing.assert_close(macs[:5], learner.executed_macs(images[:5]))  # whatever else is in the batch
    torch.testing.assert_close(layers[:5], learner.executed_layers(images[:5]))


def test_beginning_takes_over_what_was_learned(variant):
    taught, fresh = build(variant)[0], build(variant, seed=3)[0]
    if not isinstance(fresh, Beginner):
        return
    train(taught, [0])
    fresh.begin_with(taught.state_dict())
    for a, b in zip(taught.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="it is ") as refused:
        fresh.begin_with({"something": {}})
    assert "\n" not in str(refused.value)


def test_a_strategy_reads_no_tensor_but_those_that_it_names(variant):
    learner, _ = build(variant)
    train(learner, [0])
    expected = outputs(learner)
    for strategy in learner.strategies:
        named = {id(tensor) for tensor in learner.parameters(strategy)}
        others = [tensor for tensor in learner.parameters() if id(tensor) not in named]
        kept = [tensor.detach().clone() for tensor in others]
        for tensor in others:
            tensor.data.fill_(torch.nan)
        assert torch.equal(outputs_of(learner, strategy), expected[strategy]), strategy
        for tensor, values in zip(others, kept, strict=True):
            tensor.data.copy_(values)


def test_every_strategy_counts_its_parameters(variant):
    learner, _ = build(variant)
    everything = {id(p) for p in learner.parameters()}
    assert everything
    for strategy in learner.strategies:
        assert sum(p.numel() for p in learner.parameters(strategy)) > 0
