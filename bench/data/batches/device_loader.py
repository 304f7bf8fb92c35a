"""The loader that keeps a split on the device, as one uint8 tensor: nothing is copied to it within a step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cached_property

import torch

from bench.data.batches import digest
from bench.data.batches.plan import Batch, Plan, Preparation, batch_count
from bench.data.sets.arrays import pixels
from bench.data.sets.splits import Split
from bench.errors import UserError

AHEAD = 64
"""Batches whose plans are drawn, joined and copied to the device at once: one copy per number of a batch would cost as
much as the batch."""


class DeviceLoader:
    """Gathers, augments and scales batches on the device, with the draws and the bits of the loader in memory.

    Raises:
        UserError: if images have to be resampled, which is done on the CPU, or do not fit on the device.
        LoaderError: if an image file cannot be decoded.
    """

    kind = "device"

    def __init__(self, split: Split, preparation: Preparation, *, batch_size: int, seed: int, shuffle: bool) -> None:
        self.samples = len(split)
        self._split = split
        self._prepare = preparation
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        if not preparation.framing.always_keeps:
            raise UserError(
                "loader 'device' takes images as they are stored: resized crops, central crops and resolutions need "
                "another loader, such as 'memory'"
            )
        images = pixels(split.images, preparation.framing.shape)
        try:
            self._images, self._labels = (each.to(preparation.device) for each in (images, split.labels))
        except torch.OutOfMemoryError:
            raise UserError(
                f"{images.nbytes / 2**20:,.0f} MiB of images do not fit on {preparation.device}; use loader 'memory'"
            ) from None

    def __len__(self) -> int:
        return batch_count(self.samples, self._batch_size)

    @cached_property
    def digest(self) -> str:
        """Digest of the split and its preparation, see ``bench.data.batches.digest``."""
        return digest.of_batches(self._split, self.epoch(0))

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch, the same on every call."""
        plans = self._prepare.plans(
            self.samples, batch_size=self._batch_size, seed=self._seed, epoch=epoch, shuffle=self._shuffle
        )
        while several := list(itertools.islice(plans, AHEAD)):
            joined = Plan.joined(several)
            positions, *numbers = (self._copied(each) for each in (joined.positions, *joined.numbers))
            for places, *of_batch in zip(
                *(each.split(self._batch_size) for each in (positions, *numbers)), strict=True
            ):
                images = self._images.index_select(0, places)
                yield self._prepare(images, self._labels.index_select(0, places), of_batch)

    def _copied(self, numbers: torch.Tensor) -> torch.Tensor:
        """Numbers on the device; the copy does not wait for what is queued there."""
        if self._prepare.device.type != "cuda":
            return numbers.to(self._prepare.device)
        return numbers.pin_memory().to(self._prepare.device, non_blocking=True)

    def close(self) -> None:
        """Nothing to release."""
