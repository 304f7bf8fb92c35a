"""Checks that every registered method must pass, also those of other packages."""

import pytest
import torch
from variants import EPOCHS, batches, build, outputs, outputs_of, train

from bench import methods
from bench.methods import Beginner, Conditional, Examinable, Goodness, PerLayer


def test_strategies_are_declared_by_the_method_and_give_logits_without_gradient(variant):
    learner, _ = build(variant)
    assert tuple(learner.strategies) == tuple(methods.get(variant[0]).strategies)
    learner.finish(batches(9, learner))
    for logits in outputs(learner).values():
        assert logits.shape == (16, 10)
        assert logits.dtype == torch.float32
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


def test_a_last_batch_of_one_image_is_a_step_like_others(variant):
    learner, _ = build(variant)
    learner.begin_epoch(0)
    images, labels = next(batches(0, learner))
    learner.train_step(images, labels)
    losses = learner.train_step(images[:1], labels[:1])
    assert all(torch.isfinite(loss) for loss in losses.values())
    for logits in outputs(learner).values():
        assert torch.isfinite(logits).all()


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
