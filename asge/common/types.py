"""What a learner needs to know about its data and its time: protocols, so that any object with these fields will do.

And what it can show of itself, and a mark for settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Neutral:
    """Marks a setting whose default computes what its method computed before it had that setting.

    As in ``gating: Annotated[Gating, Neutral] = "none"``. With that default it is no part of a run's identity:
    references and finished runs from before still hold.
    """


class TaskShape(Protocol):
    """The shape of a classification task."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""

    @property
    def classes(self) -> int:
        """Number of classes N; labels are 0 .. N - 1."""


class TrainingBudget(Protocol):
    """How long training will last; schedules need it."""

    @property
    def epochs(self) -> int:
        """Number of epochs."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch, the last, smaller one included."""


@dataclass(frozen=True)
class Examination:
    """All that a learner predicts for images, from one pass. Shapes: B images, N classes.

    Attributes:
        strategies: logits (B, N) by strategy.
        layers: logits (B, N) of each layer, first to last; empty where layers do not predict.
        goodness: mean goodness of each layer over the batch, scalars, first to last; empty where there is none.
    """

    strategies: Mapping[str, Tensor]
    layers: Sequence[Tensor]
    goodness: Sequence[Tensor]
