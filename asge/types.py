"""What a learner needs to know about its data and its time: protocols, so that any object with these fields will do."""

from __future__ import annotations

from typing import Protocol


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
