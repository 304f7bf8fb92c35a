"""The loader that keeps a split in memory as one uint8 tensor."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from bench.data.batches import digest, transfer
from bench.data.batches.plan import Batch, Preparation, batch_count, framed
from bench.data.batches.threads import one_thread
from bench.data.sets.arrays import pixels
from bench.data.sets.splits import Split


class MemoryLoader:
    """Indexes into the split's tensor; needs only PyTorch, and is the reference for every other loader.

    Raises:
        UserError: if the split's images are files that differ in size, or do not fit into memory.
        LoaderError: if an image file cannot be decoded.
    """

    kind = "memory"

    def __init__(self, split: Split, preparation: Preparation, *, batch_size: int, seed: int, shuffle: bool) -> None:
        self.samples = len(split)
        self._split = split
        self._images = pixels(split.images, preparation.framing.shape)
        self._prepare = preparation
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle

    def __len__(self) -> int:
        return batch_count(self.samples, self._batch_size)

    @cached_property
    def digest(self) -> str:
        """Digest of the split and its preparation, see ``bench.data.batches.digest``."""
        return digest.of_batches(self._split, self.epoch(0))

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch, the same on every call."""
        return transfer.prepared(self._stored(epoch), self._prepare, self._batch_size)

    def _stored(self, epoch: int) -> Iterator[transfer.Stored]:
        """Stored batches, (B, C, H, W) uint8, framed, with the augmentations still to be applied."""
        plans = self._prepare.plans_together(
            self.samples, batch_size=self._batch_size, seed=self._seed, epoch=epoch, shuffle=self._shuffle
        )
        keeps = self._prepare.framing.keeps(epoch)
        for plan in plans:
            images = self._images.index_select(0, plan.positions)
            labels = self._split.labels.index_select(0, plan.positions)
            if not keeps:
                with one_thread():
                    images = framed(images, plan, self._prepare.framing)
            yield images, labels, plan

    def close(self) -> None:
        """Nothing to release."""
