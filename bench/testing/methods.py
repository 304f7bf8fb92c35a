"""Checks of every method."""

from __future__ import annotations

import io
import json

import torch

from bench import methods, registry
from bench.measure.environment import threads
from bench.methods import Compilable, settings
from bench.records import Description
from bench.suites import describe
from bench.testing import hooks
from bench.testing.layers import offered
from bench.testing.outcome import Check, NotOffered, require, require_equal
from bench.testing.small import (
    BATCH,
    CLASSES,
    EPOCHS,
    SmallMethod,
    batch,
    batches,
    output,
    outputs,
    train,
    validation,
)


def it_has_what_a_method_needs(subject: SmallMethod) -> None:
    """A method has Settings, strategies and build, and no name that is almost one of its optional hooks."""
    method = registry.load(methods.GROUP, "method", subject.name)
    hooks.require_parts(method, "Method", hooks.METHOD_NEEDS)
    hooks.require_no_near_miss(method, hooks.METHOD_MAY_OFFER)


def settings_have_defaults_and_survive_a_file(subject: SmallMethod) -> None:
    """Settings are a dataclass or a pydantic model with defaults; written to JSON and read again, they are the same."""
    settings.make(subject.name, {})
    whole = settings.complete(subject.name, subject.settings)
    again = settings.complete(subject.name, json.loads(json.dumps(whole)))
    differing = {key: (value, again[key]) for key, value in whole.items() if again[key] != value}
    require(not differing, "settings that are the same once written to JSON and read again", differing)


def it_has_what_a_learner_needs(subject: SmallMethod) -> None:
    """A learner has all parts of the contract, and no name that is almost one of its optional hooks."""
    hooks.require_parts(subject.learner(), "Learner", hooks.LEARNER_NEEDS)
    hooks.require_no_near_miss(subject.learner(), hooks.LEARNER_MAY_OFFER)


def published_rows_are_pairs(subject: SmallMethod) -> None:
    """What a method is compared with, if it says so, are pairs of a method and a variant."""
    method = methods.get(subject.name)
    if not hasattr(method, "published"):
        raise NotOffered("the method has no published")
    pairs = list(method.published(settings.canonical(subject.name, subject.settings)))
    texts = all(len(pair) == 2 and all(isinstance(part, str) for part in pair) for pair in pairs)
    require(texts, "pairs (method, variant) of strings from published()", pairs)


def what_it_says_for_tables_is_words(subject: SmallMethod) -> None:
    """What stands between its convolutions, its optimiser and its family, as far as a method says so, are words."""
    method = methods.get(subject.name)
    said = [hook for hook in ("between", "optimiser", "family") if hasattr(method, hook)]
    if not said:
        raise NotOffered("the method has no between, optimiser or family")
    for hook in said:
        words = getattr(method, hook)(settings.canonical(subject.name, subject.settings))
        empty = hook == "family"  # of a method of one kind
        require(isinstance(words, str) and (words or empty), f"words from {hook}()", repr(words))


def its_description_survives_a_file(subject: SmallMethod) -> None:
    """What records hold of it, so that tables need no method, is the same once written to JSON and read again."""
    asked = describe.ask(subject.name, settings.canonical(subject.name, subject.settings), None)
    again = Description.model_validate_json(asked.model_dump_json())
    differing = {name: value for name, value in asked if value != getattr(again, name)}
    require(not differing, "a description that is the same once written to JSON and read again", differing)


def strategies_are_declared_and_give_logits_without_gradient(subject: SmallMethod) -> None:
    """A learner predicts by its method's strategies: logits (B, N), float32 or autocast's dtype, without gradient."""
    learner = subject.learner()
    declared = methods.strategies(subject.name, settings.canonical(subject.name, subject.settings))
    require(tuple(learner.strategies) == declared, f"the method's strategies {declared}", tuple(learner.strategies))
    learner.finish(validation(learner))
    for strategy, logits in outputs(learner).items():
        shape = tuple(logits.shape)
        require(shape == (BATCH, CLASSES), f"logits of shape {(BATCH, CLASSES)} by {strategy!r}", shape)
        fits = logits.dtype == torch.float32 or (subject.precision == "bf16" and logits.dtype == torch.bfloat16)
        require(fits, f"torch.float32 logits by {strategy!r}", logits.dtype)
        require(not logits.requires_grad, f"logits without gradient by {strategy!r}", "some with")


def steps_on_one_batch_lower_its_losses(subject: SmallMethod) -> None:
    """Thirty more steps on one batch lower each of its losses, which are detached scalars."""
    learner = subject.learner()
    learner.begin_epoch(0)
    images, labels = batch(learner)
    first = learner.train_step(images, labels)
    for _ in range(30):
        last = learner.train_step(images, labels)
    for key, loss in first.items():
        require(loss.dim() == 0, f"a scalar as loss {key!r}", f"shape {tuple(loss.shape)}")
        require(not loss.requires_grad, f"loss {key!r} detached", "a gradient")
        require(key in last and last[key] < loss, f"loss {key!r} below {loss:g} after 30 more steps", last.get(key))


def same_seed_same_bits_other_seed_other_bits(subject: SmallMethod) -> None:
    """Two trainings with one seed, by two threads, predict the same to the bit; with another seed they do not."""
    results = []
    with threads(2):
        for seed in (0, 0, 1):
            learner = subject.learner(seed)
            train(learner, range(EPOCHS))
            results.append(outputs(learner))
    first, again, other = results
    for strategy in first:
        require_equal(first[strategy], again[strategy], f"the same logits by {strategy!r} with the same seed")
    differ = any(not torch.equal(first[strategy], other[strategy]) for strategy in first)
    require(differ, "other logits with another seed", "the same ones by every strategy")


def nothing_random_comes_from_outside_the_generator(subject: SmallMethod) -> None:
    """PyTorch's global seed changes no prediction: all that is random comes from the generator."""
    torch.manual_seed(1)
    first = subject.learner()
    train(first, range(1))
    torch.manual_seed(2)
    second = subject.learner()
    train(second, range(1))
    for strategy, logits in outputs(first).items():
        expected = f"the same logits by {strategy!r} whatever torch.manual_seed was given"
        require_equal(logits, output(second, strategy), expected)


def save_load_continue_equals_not_stopping(subject: SmallMethod) -> None:
    """A learner that is saved, loaded into another and trained on predicts as one that never stopped, to the bit."""
    straight = subject.learner()
    train(straight, range(EPOCHS))

    before, generator = subject.build()
    train(before, range(1))
    file = io.BytesIO()
    torch.save({"learner": before.state_dict(), "generator": generator.get_state()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    after, generator = subject.build(seed=7)
    after.load_state_dict(state["learner"])
    generator.set_state(state["generator"])
    train(after, range(1, EPOCHS))

    for strategy, logits in outputs(straight).items():
        expected = f"the same logits by {strategy!r} from a resumed training as from one that never stopped"
        require_equal(logits, output(after, strategy), expected)


def choosing_and_predicting_change_no_weight_and_no_later_step(subject: SmallMethod) -> None:
    """Calling finish and predict after every step leaves the same weights as never calling them."""
    looked, blind = subject.learner(), subject.learner()
    for epoch in range(EPOCHS):
        looked.begin_epoch(epoch)
        blind.begin_epoch(epoch)
        for images, labels in batches(epoch, looked):
            looked.train_step(images, labels)
            blind.train_step(images, labels)
            looked.finish(validation(looked))
            outputs(looked)
    for number, (a, b) in enumerate(zip(looked.parameters(), blind.parameters(), strict=True)):
        require_equal(b, a, f"trained tensor {number} the same whether or not finish and predict were called")


def a_batch_of_nan_gives_a_loss_that_is_not_finite(subject: SmallMethod) -> None:
    """A batch of NaN shows in a loss, of its own step or of the next: the harness stops a training that diverges."""
    learner = subject.learner()
    learner.begin_epoch(0)
    images, labels = batch(learner)
    losses = learner.train_step(torch.full_like(images, torch.nan), labels)
    losses = {**losses, **learner.train_step(images, labels)}
    bad = any(not torch.isfinite(loss) for loss in losses.values())
    require(bad, "a loss that is not finite after a batch of NaN", {key: float(loss) for key, loss in losses.items()})


def a_last_batch_of_one_image_is_a_step_like_others(subject: SmallMethod) -> None:
    """A batch of one image gives finite losses and leaves finite predictions."""
    learner = subject.learner()
    learner.begin_epoch(0)
    images, labels = batch(learner)
    learner.train_step(images, labels)
    for key, loss in learner.train_step(images[:1], labels[:1]).items():
        require(torch.isfinite(loss), f"a finite loss {key!r} of a batch of one image", float(loss))
    for strategy, logits in outputs(learner).items():
        finite = torch.isfinite(logits).all()
        require(finite, f"finite logits by {strategy!r} after a batch of one image", "some that are not")


def the_callers_batch_is_not_changed(subject: SmallMethod) -> None:
    """Neither a step nor a prediction writes to the images that it is given."""
    learner = subject.learner()
    learner.begin_epoch(0)
    images, labels = batch(learner)
    kept, kept_labels = images.clone(), labels.clone()
    learner.train_step(images, labels)
    require_equal(kept, images, "images unchanged by train_step")
    require_equal(kept_labels, labels, "labels unchanged by train_step")
    for strategy in learner.strategies:
        learner.predict(images, strategy)
        require_equal(kept, images, f"images unchanged by predict with {strategy!r}")


def a_strategy_reads_no_tensor_but_those_that_it_names(subject: SmallMethod) -> None:
    """Tensors that parameters(strategy) leaves out can be anything: the strategy predicts the same."""
    learner = subject.learner()
    train(learner, [0])
    expected = outputs(learner)
    for strategy in learner.strategies:
        named = {id(tensor) for tensor in learner.parameters(strategy)}
        others = [tensor for tensor in learner.parameters() if id(tensor) not in named]
        kept = [tensor.detach().clone() for tensor in others]
        for tensor in others:
            tensor.data.fill_(torch.nan)
        said = f"the same logits by {strategy!r} without the tensors that parameters({strategy!r}) leaves out"
        require_equal(expected[strategy], output(learner, strategy), said)
        for tensor, values in zip(others, kept, strict=True):
            tensor.data.copy_(values)


def every_strategy_counts_its_parameters(subject: SmallMethod) -> None:
    """There are trained tensors, and every strategy names some that it predicts with."""
    learner = subject.learner()
    require(list(learner.parameters()), "tensors from parameters()", "none")
    for strategy in learner.strategies:
        count = sum(tensor.numel() for tensor in learner.parameters(strategy))
        require(count > 0, f"tensors from parameters({strategy!r})", "none")


def compiled_steps_learn_what_plain_ones_do(subject: SmallMethod) -> None:
    """After compile, every batch of an epoch, the smaller last one too, has the losses that it has without."""
    plain, compiled = subject.learner(), subject.learner()
    compilable = offered(compiled, Compilable, "compile")  # type: ignore[type-abstract]
    try:
        compilable.compile("aot_eager")
    except ValueError as reason:
        raise NotOffered(f"the learner says: {reason}") from None
    tolerance = ROUNDING if subject.precision == "float32" else HALF_ROUNDING
    for learner in (plain, compiled):
        learner.begin_epoch(0)
    for number, (images, labels) in enumerate(batches(0, plain)):
        expected, found = (learner.train_step(images, labels) for learner in (plain, compiled))
        for name, loss in expected.items():
            close = abs(float(found[name]) - float(loss)) <= tolerance * max(1.0, abs(float(loss)))
            expected_loss = f"loss {name!r} of batch {number} near {float(loss):g} from a compiled step"
            require(close, expected_loss, float(found[name]))


ROUNDING, HALF_ROUNDING = 1e-4, 3e-2
"""Differences of losses that another order of sums may make: a few steps of float32 and of bfloat16, enlarged by a
few updates."""
CHECKS: tuple[Check[SmallMethod], ...] = (
    Check(it_has_what_a_method_needs, first=True),
    Check(settings_have_defaults_and_survive_a_file, first=True),
    Check(it_has_what_a_learner_needs, first=True),
    Check(published_rows_are_pairs),
    Check(what_it_says_for_tables_is_words),
    Check(its_description_survives_a_file),
    Check(strategies_are_declared_and_give_logits_without_gradient),
    Check(steps_on_one_batch_lower_its_losses),
    Check(same_seed_same_bits_other_seed_other_bits),
    Check(nothing_random_comes_from_outside_the_generator),
    Check(save_load_continue_equals_not_stopping),
    Check(choosing_and_predicting_change_no_weight_and_no_later_step),
    Check(a_batch_of_nan_gives_a_loss_that_is_not_finite),
    Check(a_last_batch_of_one_image_is_a_step_like_others),
    Check(the_callers_batch_is_not_changed),
    Check(a_strategy_reads_no_tensor_but_those_that_it_names),
    Check(every_strategy_counts_its_parameters),
    Check(compiled_steps_learn_what_plain_ones_do),
)
