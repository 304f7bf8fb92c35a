"""What methods and harness share: protocols, a learner's predictions, neutral settings, checks of settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, get_args

from torch import Tensor

OPEN = "open"
"""Name under which a learner's ``layer_values`` show, for each gate of a layer, the share of images that open it."""


@dataclass(frozen=True)
class Neutral:
    """Marks a setting added later, with the value at which the method computes what it did before.

    As in ``gating: Annotated[Gating, Neutral("none")] = "none"``. At that value the setting is not part of a run's
    identity: older references and finished runs stay valid. Another default, later, makes them other runs.
    """

    value: Any


def check_choice(name: str, value: object, kind: object) -> None:
    """Check that a value is one of a ``Literal`` type.

    Raises:
        ValueError: naming the choices, if it is not.
    """
    choices = get_args(kind)
    if value not in choices:
        first, last = ", ".join(map(repr, choices[:-1])), repr(choices[-1])
        raise ValueError(f"{name} must be {first} or {last}, got {value!r}")


def refuse_without_effect(settings: Any, names: Iterable[str], because: str, *, when: bool = True) -> None:
    """Refuse settings that would do nothing, beside the others.

    Args:
        settings: an object of a ``settings_class``.
        names: of the settings that do nothing.
        because: the setting that makes it so, such as "gating 'none'".
        when: whether it makes it so; else nothing is refused.

    Raises:
        ValueError: if one of them has another value than its default.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    for name in names if when else ():
        value = getattr(settings, name)
        if value != defaults[name]:
            raise ValueError(f"{name} has no effect with {because}: it cannot be {value!r}")


class TaskShape(Protocol):
    """The shape of a classification task."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""

    @property
    def classes(self) -> int:
        """Number of classes N; labels are 0 .. N - 1."""


class TrainingBudget(Protocol):
    """The length of training; schedules need it."""

    @property
    def epochs(self) -> int:
        """Number of epochs."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch, counting a smaller last one."""


@dataclass(frozen=True)
class Examination:
    """A learner's predictions for a batch of images, from one pass. Shapes: B images, N classes.

    Attributes:
        strategies: logits (B, N) by strategy.
        layers: logits (B, N) of each layer, first to last; empty where layers do not predict.
        goodness: mean goodness of each layer over the batch, scalars, first to last; empty where there is none.
    """

    strategies: Mapping[str, Tensor]
    layers: Sequence[Tensor]
    goodness: Sequence[Tensor]
