"""The contract of a method, as protocols: nothing needs to inherit from them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from asge.common.types import Examination, TaskShape, TrainingBudget
from bench import registry
from bench.errors import UserError

GROUP = "bench.methods"


class Learner(Protocol):
    """A network in training. Shapes: B images, C channels, H x W pixels, N classes."""

    @property
    def strategies(self) -> tuple[str, ...]:
        """Names of its prediction strategies: its method's, or those that ``strategies_of`` says."""

    def begin_epoch(self, epoch: int) -> None:
        """Called before epoch ``epoch`` (from 0): for schedules, or layers that freeze."""

    def train_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Learn from one batch, images (B, C, H, W) float and labels (B,) int64; the last batch may be smaller.

        Returns:
            Scalar losses by name, detached and on the device: reading them here would make the device wait.
        """

    def finish(self, validation: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Called after every epoch with validation batches: choose what predictions need, but change no weight."""

    def predict(self, images: Tensor, strategy: str) -> Tensor:
        """Logits (B, N) without gradient; runs only what the strategy needs."""

    def parameters(self, strategy: str | None = None) -> Iterator[Tensor]:
        """The tensors that a strategy predicts with; without a strategy, all trained tensors."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that exact resuming needs: tensors, numbers, strings, lists and dicts of them."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a ``state_dict``."""


@runtime_checkable
class PerLayer(Protocol):
    """A learner whose layers each predict; recognised by this method."""

    def layer_logits(self, images: Tensor) -> list[Tensor]:
        """Logits (B, N) of every layer, first to last, without gradient."""


@runtime_checkable
class Observable(Learner, Protocol):
    """A learner that reports the end of each layer's part of a step; no gradient crosses its layers.

    Attributes:
        on_layer: None, or a function that ``train_step`` calls at the end of each layer's part, first layer to last.
        way_back: optional; a sentence, where what a layer learns depends on later layers in another way than through
            a gradient, such as through labels that the whole network predicts. Then no test asks for independence.
    """

    on_layer: Callable[[], None] | None


@runtime_checkable
class Goodness(Protocol):
    """A learner whose layers have a goodness."""

    def layer_goodness(self, images: Tensor) -> Sequence[Tensor]:
        """Mean goodness of every layer over the batch, first to last: scalars."""


@runtime_checkable
class Examinable(Learner, Protocol):
    """A learner that computes all its predictions in one pass, where single calls would take one pass each."""

    def examine(self, images: Tensor) -> Examination:
        """Results of ``predict`` by strategy, ``layer_logits`` and ``layer_goodness``, bit-exact, without gradient."""


@runtime_checkable
class Compilable(Learner, Protocol):
    """A learner whose training step can be compiled."""

    def compile(self, backend: str = "inductor") -> None:
        """Compile, with ``torch.compile``, what ``train_step`` does from now on, or the costly part of it.

        Called once, before the first step. Results may differ in their last digits. Batches of another size than the
        first are best taken without: the compiler would begin anew for each.

        Args:
            backend: of ``torch.compile``.

        Raises:
            ValueError: if the settings are not for it; one sentence.
        """


@runtime_checkable
class ChoosesLayer(PerLayer, Protocol):
    """A learner whose ``finish`` only chooses the layer that predicts best, from accuracies that evaluation counts too.

    Where it has this method, it is called instead of ``finish``, after the layers were evaluated: a pass less.
    """

    def choose_layer(self, accuracies: Sequence[float]) -> Mapping[str, float]:
        """Choose from the accuracies of ``layer_logits`` on validation data, per cent, first layer to last.

        Returns:
            The accuracy of every strategy that predicts with the chosen layer alone, that layer's own.
        """


@runtime_checkable
class Inspectable(Protocol):
    """A learner whose layers have values to report, such as gate parameters, or how often gates open."""

    def layer_values(self, validation: Iterable[tuple[Tensor, Tensor]]) -> Mapping[str, Sequence[Tensor]]:
        """Values of every layer that has any, first to last, by name: tensors (n,) of any length; may be empty.

        Shares of images that open a gate have the name ``open`` (``asge.common.types.OPEN``). Changes nothing;
        validation batches are given for values that depend on data.
        """


@runtime_checkable
class Conditional(Protocol):
    """A learner whose predictions cost more for some images than for others."""

    def executed_macs(self, images: Tensor) -> Tensor:
        """Multiply-accumulate operations of each image's prediction, (B,), without gradient."""

    def executed_layers(self, images: Tensor) -> Tensor:
        """Executed share of every layer for each image, from 0 to 1, (B, L)."""


@runtime_checkable
class Beginner(Protocol):
    """A learner that can start from another learner's checkpoint."""

    def begin_with(self, state: dict[str, Any]) -> None:
        """Load the weights from another learner's ``state_dict``, but nothing of its optimiser or schedule.

        Called before the first step. Parameters missing from ``state`` keep their initial values.

        Raises:
            ValueError: if it is the state of another kind of network; one sentence.
        """


class Method(Protocol):
    """A training method: the object that an entry point of group ``bench.methods`` names.

    Optional, for records (``settings`` is a mapping by name, without settings newer than the record). The answers are
    written into every record, see ``bench.suites.describe``; tables and figures read them there and ask no method:

    * ``strategies_of(settings) -> names``: those of ``strategies`` that learners with these settings have, if not all.
    * ``published(settings) -> [(method, variant), ...]``: the rows of ``results/reference/published.csv`` that a cell
      with these settings is compared with; the first one for its task counts.
    * ``between(settings) -> str``: description of the layers between its convolutions (pooling, normalisation,
      activation).
    * ``optimiser(settings) -> str``: description of its optimiser, rates and schedule.
    * ``family(settings) -> str``: the kind of network that the settings choose; figures give each kind a color.
    * ``small``: a sequence of settings as mappings. Each makes its networks small enough to test in seconds, on images
      (1, 8, 8) of ten classes, or takes another way through its code; without it, tests use the defaults.
    """

    @property
    def Settings(self) -> type:  # noqa: N802
        """A dataclass or pydantic model: all settings with types, limits and defaults."""

    @property
    def strategies(self) -> tuple[str, ...]:
        """Names of its learners' prediction strategies."""

    def build(
        self,
        task: TaskShape,
        settings: Any,
        budget: TrainingBudget,
        device: torch.device,
        generator: torch.Generator,
    ) -> Learner:
        """Make a learner. All its randomness, now and later, comes from ``generator`` (on the CPU).

        Raises:
            ValueError: if settings and task do not fit; one sentence.
        """


def names() -> list[str]:
    """Keys of all registered methods, sorted."""
    return registry.names(GROUP)


def get(name: str) -> Method:
    """The method registered as ``name``; a UserError names the valid ones."""
    method: Method = registry.load(GROUP, "method", name)
    for part in ("Settings", "strategies", "build"):
        if not hasattr(method, part):
            raise UserError(f"method {name!r} has no {part!r}; see bench.plugins.Method")
    return method


def about(name: str) -> str:
    """What a method is, in a sentence with its source: how the docstring of its module begins; empty without one."""
    module = sys.modules.get(getattr(get(name), "__module__", ""))
    paragraph = inspect.cleandoc(getattr(module, "__doc__", None) or "").partition("\n\n")[0]
    return " ".join(paragraph.split())


def strategies(name: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the prediction strategies of a method's learners with some settings.

    Raises:
        UserError: if the method's ``strategies_of`` fails.
    """
    method = get(name)
    of_settings = getattr(method, "strategies_of", None)
    if of_settings is None:
        return tuple(method.strategies)
    try:
        return tuple(of_settings(values))
    except Exception as error:  # a plug-in may fail in any way
        raise UserError(f"strategies_of() of method {name!r} failed: {type(error).__name__}: {error}") from error


def between(name: str, values: Mapping[str, Any]) -> str | None:
    """Describe the layers between the convolutions of a method's network; None if it has no ``between``.

    Raises:
        UserError: if the method's ``between`` fails.
    """
    return _said(name, "between", values)


def optimiser(name: str, values: Mapping[str, Any]) -> str | None:
    """A method's optimiser, in words; None where it does not say.

    Raises:
        UserError: if the method's ``optimiser`` fails.
    """
    return _said(name, "optimiser", values)


def family(name: str, values: Mapping[str, Any]) -> str:
    """The method, with the kind of network that its settings choose where it says so.

    Raises:
        UserError: if the method's ``family`` fails.
    """
    return f"{name} {_said(name, 'family', values) or ''}".strip()


def _said(name: str, hook: str, values: Mapping[str, Any]) -> str | None:
    """The words of an optional hook of a method; None without it, or where the method is not installed."""
    try:
        words = getattr(get(name), hook, None)
    except UserError:
        return None
    if words is None:
        return None
    try:
        return str(words(values))
    except Exception as error:  # a plug-in may fail in any way
        raise UserError(f"{hook}() of method {name!r} failed: {type(error).__name__}: {error}") from error


def published_rows(name: str, values: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """Rows (method, variant) of published.csv, the closest first; most methods have none.

    Raises:
        UserError: if the method's ``published`` fails.
    """
    rows = getattr(get(name), "published", None)
    if rows is None:
        return ()
    try:
        return [(method, variant) for method, variant in rows(values)]
    except Exception as error:  # a plug-in may fail in any way
        raise UserError(f"published() of method {name!r} failed: {type(error).__name__}: {error}") from error
