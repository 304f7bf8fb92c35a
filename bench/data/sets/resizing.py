"""Tasks whose images are resized once, when they are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from bench.data.sets.arrays import Arrays, Images
from bench.data.sets.tasks import Task
from bench.errors import UserError

TOGETHER = 1000
"""Images that are resized at a time."""


class Resized:
    """A task with square images of another side; all else is as in the task.

    Bilinear, with antialiasing where images shrink: torchvision's ``resize`` of tensors.

    Args:
        task: its data has to be arrays, not image files.
        side: of the images, in pixels.
    """

    def __init__(self, task: Task, side: int) -> None:
        self._task = task
        self.shape = (task.shape[0], side, side)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def read(self, data_dir: Path | None) -> Arrays:
        """Read the task's data, and resize it.

        Raises:
            UserError: as the task's own, and if its images are files.
        """
        arrays = self._task.read(data_dir)
        return replace(
            arrays, train_images=self._resized(arrays.train_images), test_images=self._resized(arrays.test_images)
        )

    def _resized(self, images: Images) -> Images:
        if not isinstance(images, Tensor):
            raise UserError(f"resize is for tasks whose images are arrays; those of {self._task.name} are files")
        out = images.new_empty((len(images), *self.shape))
        for start in range(0, len(images), TOGETHER):
            part = slice(start, start + TOGETHER)
            out[part] = F.interpolate(images[part], size=self.shape[1:], mode="bilinear", antialias=True)
        return out


def resized(task: Task, side: int | None) -> Task:
    """A task with images of another side; the task itself without one."""
    return task if side is None or task.shape[1:] == (side, side) else cast("Task", Resized(task, side))
