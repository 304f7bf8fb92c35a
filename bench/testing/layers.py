"""Checks of a learner's optional parts: observable layers, work per image, starting from a checkpoint."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from bench.methods import (
    Beginner,
    ChoosesLayer,
    Conditional,
    Examinable,
    Goodness,
    Inspectable,
    Learner,
    Observable,
    PerLayer,
)
from bench.testing.outcome import Check, CheckFailed, NotOffered, require, require_equal
from bench.testing.small import BATCH, CLASSES, SmallMethod, batch, batches, outputs, train, validation

P = TypeVar("P")


def offered(learner: Learner, protocol: type[P], *hooks: str) -> P:
    """The learner, as one that offers some hooks.

    Raises:
        NotOffered: if it offers none of them.
        CheckFailed: if it offers some, but not all.
    """
    missing = [hook for hook in hooks if not hasattr(learner, hook)]
    if len(missing) == len(hooks):
        raise NotOffered(f"the learner has no {' and no '.join(missing)}")
    if missing:
        there = ", ".join(hook for hook in hooks if hook not in missing)
        raise CheckFailed(f"expected {', '.join(missing)} beside {there}, found none")
    if not isinstance(learner, protocol):
        raise CheckFailed(f"expected what bench.plugins.{protocol.__name__} asks for, found {type(learner).__name__}")
    return learner


def one_pass_shows_what_single_calls_do_to_the_bit(subject: SmallMethod) -> None:
    """What examine shows equals, to the bit, what predict, layer_logits and layer_goodness give; without gradient."""
    learner = subject.learner()
    examinable = offered(learner, Examinable, "examine")  # type: ignore[type-abstract]
    learner.finish(validation(learner))
    images, _ = batch(learner)
    seen = examinable.examine(images)
    strategies = tuple(seen.strategies)
    require(strategies == tuple(learner.strategies), f"strategies {tuple(learner.strategies)} in examine", strategies)
    layers = learner.layer_logits(images) if isinstance(learner, PerLayer) else []
    goodness = learner.layer_goodness(images) if isinstance(learner, Goodness) else []
    for what, shown, single in (
        ("strategies", list(seen.strategies.values()), [learner.predict(images, s) for s in learner.strategies]),
        ("layers", seen.layers, layers),
        ("goodness", seen.goodness, goodness),
    ):
        require(len(shown) == len(single), f"{len(single)} tensors in examine's {what}", len(shown))
        for number, (a, b) in enumerate(zip(shown, single, strict=True)):
            require_equal(b, a, f"examine's {what}, number {number}, as the single call gives")
            require(not a.requires_grad, f"examine's {what} without gradient", "some with")


def layers_predict(subject: SmallMethod) -> None:
    """Every layer gives logits (B, N) without gradient."""
    learner = subject.learner()
    layered = offered(learner, PerLayer, "layer_logits")  # type: ignore[type-abstract]
    for number, logits in enumerate(layered.layer_logits(batch(learner)[0])):
        shape = tuple(logits.shape)
        require(shape == (BATCH, CLASSES), f"logits of shape {(BATCH, CLASSES)} of layer {number}", shape)
        require(not logits.requires_grad, f"logits of layer {number} without gradient", "some with")


def choosing_from_accuracies_is_choosing_by_a_pass(subject: SmallMethod) -> None:
    """choose_layer chooses what finish chooses, and says what the strategies that follow it predict."""
    passing, told = subject.learner(), subject.learner()
    chooser = offered(told, ChoosesLayer, "choose_layer")  # type: ignore[type-abstract]
    for learner in (passing, told):
        train(learner, [0])
    passing.finish(validation(passing))
    images, labels = (torch.cat(parts) for parts in zip(*validation(told), strict=True))
    said = chooser.choose_layer([_accuracy(logits, labels) for logits in chooser.layer_logits(images)])
    require_same_outputs(passing, told, "whether finish has chosen or choose_layer")
    require(said, "the accuracy of a strategy that predicts with the chosen layer", "none")
    for strategy, accuracy in said.items():
        seen = _accuracy(told.predict(images, strategy), labels)
        require(accuracy == seen, f"choose_layer to say {seen:g} per cent of {strategy!r}", accuracy)


def layers_can_be_watched_and_watching_changes_nothing(subject: SmallMethod) -> None:
    """on_layer is called once per layer in a step, and changes no prediction."""
    watched, blind = subject.learner(), subject.learner()
    offered(watched, Observable, "on_layer")  # type: ignore[type-abstract]
    calls: list[None] = []
    watched.on_layer = lambda: calls.append(None)  # type: ignore[attr-defined]
    images, labels = batch(watched)
    for learner in (watched, blind):
        learner.begin_epoch(0)
        learner.train_step(images, labels)
    if isinstance(watched, PerLayer):
        count = len(watched.layer_logits(images))
        require(len(calls) == count, f"{count} calls of on_layer in a step, one per layer of layer_logits", len(calls))
    if isinstance(watched, Goodness):
        goodness = watched.layer_goodness(images)
        require(len(goodness) == len(calls), f"{len(calls)} values of layer_goodness", len(goodness))
        for number, value in enumerate(goodness):
            require(value.dim() == 0, f"a scalar as goodness of layer {number}", f"shape {tuple(value.shape)}")
            require(value >= 0, f"a goodness of layer {number} that is not negative", float(value))
    require_same_outputs(watched, blind, "watched or not")


def no_gradient_crosses_from_one_layer_to_the_layers_before(subject: SmallMethod) -> None:
    """What a layer learns does not depend on the layers after it, where on_layer says that layers learn apart."""
    learner = subject.learner()
    offered(learner, Observable, "on_layer")  # type: ignore[type-abstract]
    if way_back := getattr(learner, "way_back", None):
        raise NotOffered(f"the learner says: {way_back}")
    layers, count = layer_of_each(learner)
    silent = sorted(set(range(count)) - set(layers))
    require(not silent, "tensors that learn in each layer's part of a step", f"none in that of layers {silent}")
    for number, (layer, others) in enumerate(zip(layers, reached(subject), strict=True)):
        before = sorted({layers[other] for other in others if layers[other] < layer})
        expected = f"trained tensor {number}, of layer {layer}, to change nothing in the layers before"
        require(not before, expected, f"another update in layers {before}")


def what_layers_show_are_lists_of_numbers_and_showing_changes_nothing(subject: SmallMethod) -> None:
    """layer_values gives finite tensors (n,) of layers by name, and changes no later step."""
    shown, blind = subject.learner(), subject.learner()
    inspectable = offered(shown, Inspectable, "layer_values")  # type: ignore[type-abstract]
    for learner in (shown, blind):
        train(learner, [0])
    for name, of_layers in inspectable.layer_values(validation(shown)).items():
        require(of_layers, f"values of some layer as {name!r}", "none")
        for values in of_layers:
            require(values.dim() == 1, f"tensors (n,) as {name!r}", f"shape {tuple(values.shape)}")
            require(torch.isfinite(values).all(), f"finite values as {name!r}", "some that are not")
    for learner in (shown, blind):
        train(learner, [1])
    require_same_outputs(shown, blind, "shown or not")


def work_that_depends_on_the_image_is_of_each_image(subject: SmallMethod) -> None:
    """executed_macs (B,) and executed_layers (B, L) are each image's own, whatever else is in the batch."""
    learner = subject.learner()
    conditional = offered(learner, Conditional, "executed_macs", "executed_layers")  # type: ignore[type-abstract]
    train(learner, [0])
    images, _ = batch(learner)
    macs, layers = conditional.executed_macs(images), conditional.executed_layers(images)
    require(macs.shape == (BATCH,), f"executed_macs of shape {(BATCH,)}", tuple(macs.shape))
    two = layers.dim() == 2 and len(layers) == BATCH
    require(two, f"executed_layers of shape ({BATCH}, layers)", tuple(layers.shape))
    require(not macs.requires_grad, "executed_macs without gradient", "some with")
    require(not layers.requires_grad, "executed_layers without gradient", "some with")
    require((macs > 0).all(), "executed_macs above 0", float(macs.min()))
    low, high = float(layers.min()), float(layers.max())
    require(((layers >= 0) & (layers <= 1)).all(), "executed_layers from 0 to 1", f"{low:g} to {high:g}")
    for name, whole, alone in (
        ("executed_macs", macs, conditional.executed_macs(images[:5])),
        ("executed_layers", layers, conditional.executed_layers(images[:5])),
    ):
        try:
            torch.testing.assert_close(whole[:5], alone)
        except AssertionError:
            most = (whole[:5] - alone).abs().max().item()
            expected = f"{name} of an image to be the same whatever else is in the batch"
            raise CheckFailed(f"expected {expected}, found a difference of {most:g}") from None


def beginning_takes_over_what_was_learned(subject: SmallMethod) -> None:
    """begin_with gives a learner the trained tensors of another, and refuses another state in one sentence."""
    taught, fresh = subject.learner(), subject.learner(seed=3)
    beginner = offered(fresh, Beginner, "begin_with")  # type: ignore[type-abstract]
    train(taught, [0])
    beginner.begin_with(taught.state_dict())
    for number, (a, b) in enumerate(zip(taught.parameters(), fresh.parameters(), strict=True)):
        require_equal(a, b, f"trained tensor {number} as the other learned it")
    try:
        beginner.begin_with({"something": {}})
    except ValueError as refused:
        require("it is " in str(refused), "a ValueError that says what the state is ('it is ...')", repr(str(refused)))
        require("\n" not in str(refused), "a ValueError of one sentence", repr(str(refused)))
    else:
        raise CheckFailed("expected a ValueError from begin_with for a state of something else, found none")


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return 100 * int((logits.argmax(1) == labels).sum()) / len(labels)


def require_same_outputs(one: Learner, other: Learner, said: str) -> None:
    """Raise ``CheckFailed`` unless two learners predict the same to the bit by every strategy."""
    others = outputs(other)
    for strategy, logits in outputs(one).items():
        require_equal(others[strategy], logits, f"the same logits by {strategy!r}, {said}")


def updates(subject: SmallMethod, changed: int | None = None) -> list[Tensor]:
    """What two steps change each trained tensor by, after a little noise on the one of index ``changed``."""
    learner = subject.learner()
    tensors = list(learner.parameters())
    if changed is not None:
        _add_noise(tensors[changed], torch.Generator().manual_seed(changed))
    before = [tensor.detach().clone() for tensor in tensors]
    learner.begin_epoch(0)
    for images, labels in itertools.islice(batches(0, learner), 2):
        learner.train_step(images, labels)
    return [after.detach() - start for after, start in zip(tensors, before, strict=True)]


def reached(subject: SmallMethod) -> list[set[int]]:
    """For each trained tensor, the indices of those whose updates depend on it."""
    plain = updates(subject)
    return [
        {i for i, (a, b) in enumerate(zip(plain, updates(subject, changed), strict=True)) if not torch.equal(a, b)}
        for changed in range(len(plain))
    ]


def layer_of_each(learner: Learner) -> tuple[list[int], int]:
    """The layer in whose part of a step each trained tensor changes first or gets a gradient, and how many there are.

    A tensor that does so in none counts as of a layer after the last.
    """
    tensors = list(learner.parameters())
    noise = torch.Generator().manual_seed(0)
    for tensor in tensors:  # behind weights that begin with zeros there would be no gradient
        _add_noise(tensor, noise)
    before = [tensor.detach().clone() for tensor in tensors]
    layers: dict[int, int] = {}
    ended = 0

    def end_of_layer() -> None:
        nonlocal ended
        for index, (tensor, start) in enumerate(zip(tensors, before, strict=True)):
            if (tensor.grad is not None and tensor.grad.any()) or not torch.equal(tensor, start):
                layers.setdefault(index, ended)
        ended += 1

    watch: Callable[[], None] = end_of_layer
    learner.on_layer = watch  # type: ignore[attr-defined]
    learner.begin_epoch(0)
    learner.train_step(*batch(learner))
    return [layers.get(index, ended) for index in range(len(tensors))], ended


def _add_noise(tensor: Tensor, generator: torch.Generator) -> None:
    tensor.data += 0.05 * torch.randn(tensor.shape, generator=generator).to(tensor.device)


CHECKS: tuple[Check[SmallMethod], ...] = (
    Check(one_pass_shows_what_single_calls_do_to_the_bit),
    Check(layers_predict),
    Check(choosing_from_accuracies_is_choosing_by_a_pass),
    Check(layers_can_be_watched_and_watching_changes_nothing),
    Check(no_gradient_crosses_from_one_layer_to_the_layers_before),
    Check(what_layers_show_are_lists_of_numbers_and_showing_changes_nothing),
    Check(work_that_depends_on_the_image_is_of_each_image),
    Check(beginning_takes_over_what_was_learned),
)
