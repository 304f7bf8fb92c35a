"""Batches as a function of (seed, epoch), shared by all loaders, so that all give the same tensors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bench.data.batches import framing
from bench.data.batches.augment import AUGMENTATIONS, check_names
from bench.data.batches.framing import Framing, resample
from bench.data.batches.scaling import Scaling, scaled
from bench.data.sets.tasks import Task
from bench.seeds import generator

Batch = tuple[Tensor, Tensor]
TOGETHER_BYTES = 2**22
TOGETHER_AT_MOST = 16
"""Most stored bytes, and most batches, that are read and augmented together."""


def epoch_order(samples: int, *, seed: int, epoch: int, shuffle: bool) -> Tensor:
    """The order in which an epoch visits a split: positions, (samples,) int64."""
    if not shuffle:
        return torch.arange(samples)
    return torch.randperm(samples, generator=generator(seed, epoch, "order"))


def augmentation_stream(*, seed: int, epoch: int) -> torch.Generator:
    """The generator of one epoch's augmentation; all batches draw from it in turn."""
    return generator(seed, epoch, "augment")


def batch_count(samples: int, batch_size: int) -> int:
    """Batches per epoch, counting a smaller last one, which is never dropped."""
    return -(-samples // batch_size)


@dataclass(frozen=True)
class Plan:
    """Everything random about a batch, or several consecutive ones, decided before anything is read.

    Attributes:
        positions: (B,) int64, in the split.
        frames: (B, K) float64, numbers of the random boxes; K is 0 without random boxes.
        numbers: of each further augmentation, (B, K) each.
        side: height and width of the images.
    """

    positions: Tensor
    frames: Tensor
    numbers: tuple[Tensor, ...]
    side: tuple[int, int]

    def __len__(self) -> int:
        return len(self.positions)

    @classmethod
    def joined(cls, plans: Sequence[Plan]) -> Plan:
        """Concatenate plans of the same side into one."""
        numbers = tuple(map(torch.cat, zip(*(plan.numbers for plan in plans), strict=True)))
        positions, frames = (torch.cat([getattr(plan, name) for plan in plans]) for name in ("positions", "frames"))
        return cls(positions, frames, numbers, plans[0].side)


def framed(images: Tensor, plan: Plan, framing: Framing, begin: Callable[[int], object] = lambda _: None) -> Tensor:
    """Cut a plan's boxes out of images of one size: (B, C, H, W) uint8 -> (B, C, *side).

    Args:
        images: as stored.
        plan: gives the numbers and the side.
        framing: gives the boxes.
        begin: called with the position of each sample before it is processed.
    """
    sizes = np.tile(np.array([images.shape[2:]]), (len(images), 1))
    boxes = framing.boxes(plan.frames, sizes).tolist()
    out = torch.empty(*images.shape[:2], *plan.side, dtype=images.dtype)
    for k, (position, box) in enumerate(zip(plan.positions.tolist(), boxes, strict=True)):
        begin(position)
        out[k] = resample(images[k], box, plan.side)
    return out


@dataclass(frozen=True)
class Preparation:
    """Turns a stored batch into a training batch: on the device, augmented, scaled.

    Attributes:
        augmentation: names in ``AUGMENTATIONS``, except random resized crops.
        framing: the part of an image that is used, and its size.
        mean: (1, C, 1, 1) float32 on the device, in units of a stored pixel (0 to 255).
        std: likewise.
        device: where batches go.
        scaling: see ``bench.data.batches.scaling``.
    """

    augmentation: tuple[str, ...]
    framing: Framing
    mean: Tensor
    std: Tensor
    device: torch.device
    scaling: Scaling = "standard"

    @classmethod
    def of(
        cls,
        task: Task,
        augmentation: Sequence[str],
        device: torch.device,
        *,
        share: float | None = None,
        resolutions: Sequence[tuple[int, int]] = (),
        scaling: Scaling = "standard",
    ) -> Preparation:
        """Make the preparation of a task.

        Args:
            task: gives shape, mean and deviation.
            augmentation: names in ``AUGMENTATIONS``.
            device: where batches go.
            share: see ``Framing``; ignored with random crops.
            resolutions: see ``Framing``.
            scaling: see ``bench.data.batches.scaling``.

        Raises:
            UserError: if an augmentation is unknown.
        """
        check_names(augmentation)
        random = framing.RANDOM in augmentation
        rest = tuple(name for name in augmentation if name != framing.RANDOM)

        def per_channel(values: tuple[float, ...]) -> Tensor:
            scaled = [255 * value for value in values]
            return torch.tensor(scaled, dtype=torch.float32, device=device).view(1, -1, 1, 1)

        framed = Framing(random, share, task.shape, tuple(resolutions))
        return cls(rest, framed, per_channel(task.mean), per_channel(task.std), device, scaling)

    def on(self, device: torch.device) -> Preparation:
        """The same preparation for batches on another device."""
        return replace(self, mean=self.mean.to(device), std=self.std.to(device), device=device)

    def together(self, batch_size: int) -> int:
        """Number of batches to read and augment at once: on a CPU, a small batch costs little more than the calls."""
        if self.device.type != "cpu":
            return 1
        stored = batch_size * math.prod(self.framing.shape)
        return min(max(1, TOGETHER_BYTES // stored), TOGETHER_AT_MOST)

    def plans_together(self, samples: int, *, batch_size: int, seed: int, epoch: int, shuffle: bool) -> Iterator[Plan]:
        """The plans of an epoch, joined where their batches are read together."""
        plans = self.plans(samples, batch_size=batch_size, seed=seed, epoch=epoch, shuffle=shuffle)
        while several := list(itertools.islice(plans, self.together(batch_size))):
            yield Plan.joined(several)

    def plans(self, samples: int, *, batch_size: int, seed: int, epoch: int, shuffle: bool) -> Iterator[Plan]:
        """The plan of every batch of an epoch, a function of seed and epoch."""
        stream = augmentation_stream(seed=seed, epoch=epoch)
        side = self.framing.side(epoch)
        channels = self.framing.shape[0]
        parts = [AUGMENTATIONS[name] for name in self.augmentation]
        fixed = [None if part.by_epoch is None else part.by_epoch(samples, seed, epoch) for part in parts]
        for positions in torch.split(epoch_order(samples, seed=seed, epoch=epoch, shuffle=shuffle), batch_size):
            shape = torch.Size((len(positions), channels, *side))
            frames = self.framing.draw(len(positions), stream)
            numbers = tuple(
                part.draw(shape, stream) if known is None else known[positions]
                for part, known in zip(parts, fixed, strict=True)
            )
            yield Plan(positions, frames, numbers, side)

    def batches(
        self, images: Tensor, labels: Tensor, numbers: Sequence[Tensor], batch_size: int | None = None
    ) -> Iterator[Batch]:
        """Augment and scale samples that were read together.

        Args:
            images: (B, C, H, W) uint8, framed; not changed.
            labels: (B,) int64.
            numbers: those of the plan.
            batch_size: of all batches but the last; None for a single one.

        Yields:
            images (b, C, H, W) float32, scaled, and labels (b,) int64, on the device.
        """
        images = images.to(self.device, non_blocking=True)
        labels = labels.to(self.device, non_blocking=True)
        for name, drawn in zip(self.augmentation, numbers, strict=True):
            images = AUGMENTATIONS[name].batch(images, drawn)
        size = batch_size or len(images)
        for some, of_some in zip(images.split(size), labels.split(size), strict=True):
            # Only one float batch exists at a time.
            yield self.scaled(some), of_some

    def scaled(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) uint8 as a network gets them, see ``bench.data.batches.scaling``."""
        return scaled(images, self.scaling, self.mean, self.std)

    def __call__(self, images: Tensor, labels: Tensor, numbers: Sequence[Tensor]) -> Batch:
        """Prepare one batch; see ``batches``."""
        return next(self.batches(images, labels, numbers))
