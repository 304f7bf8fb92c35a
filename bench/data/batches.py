"""From (seed, epoch) to a batch: what every kind of loader shares, so that all give the same tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.data.augment import augment, check_names
from bench.data.seeds import generator
from bench.data.tasks import Task
from bench.data.threads import one_thread

Batch = tuple[Tensor, Tensor]


def epoch_order(samples: int, *, seed: int, epoch: int, shuffle: bool) -> Tensor:
    """Positions in a split, (samples,) int64, in the order in which an epoch visits them."""
    if not shuffle:
        return torch.arange(samples)
    return torch.randperm(samples, generator=generator(seed, epoch, "order"))


def augmentation_stream(*, seed: int, epoch: int) -> torch.Generator:
    """The generator of one epoch's augmentation; it runs on from batch to batch."""
    return generator(seed, epoch, "augment")


def batch_count(samples: int, batch_size: int) -> int:
    """Batches per epoch; the last, smaller one is never dropped."""
    return -(-samples // batch_size)


@dataclass(frozen=True)
class Preparation:
    """Turns a batch as stored into a batch as trained on: on the device, augmented, normalised.

    Attributes:
        augmentation: names in ``AUGMENTATIONS``.
        mean: (1, C, 1, 1) float32 on the device, in units of a stored pixel (0 to 255).
        std: likewise.
        device: where batches go.
    """

    augmentation: tuple[str, ...]
    mean: Tensor
    std: Tensor
    device: torch.device

    @classmethod
    def of(cls, task: Task, augmentation: Sequence[str], device: torch.device) -> Preparation:
        """The preparation for a task.

        Raises:
            UserError: if an augmentation is unknown.
        """
        check_names(augmentation)

        def per_channel(values: tuple[float, ...]) -> Tensor:
            scaled = [255 * value for value in values]
            return torch.tensor(scaled, dtype=torch.float32, device=device).view(1, -1, 1, 1)

        return cls(tuple(augmentation), per_channel(task.mean), per_channel(task.std), device)

    def __call__(self, images: Tensor, labels: Tensor, stream: torch.Generator) -> Batch:
        """Prepare one batch.

        Args:
            images: (B, C, H, W) uint8 on the CPU; not changed.
            labels: (B,) int64 on the CPU.
            stream: the epoch's augmentation stream.

        Returns:
            images (B, C, H, W) float32 with about zero mean and unit deviation, and labels (B,) int64, on the device.
        """
        with one_thread():
            images = images.to(self.device, non_blocking=True)
            images = augment(images, self.augmentation, stream)
            # In place after the conversion, which always copies: one float batch exists, not three.
            images = images.float().sub_(self.mean).div_(self.std)
        return images, labels.to(self.device, non_blocking=True)
