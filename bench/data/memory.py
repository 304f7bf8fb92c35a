"""The loader that keeps a split in memory as one uint8 tensor."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch

from bench.data import digest
from bench.data.batches import Batch, Preparation, augmentation_stream, batch_count, epoch_order
from bench.data.splits import Split
from bench.data.threads import one_thread


class MemoryLoader:
    """Indexes into the split's tensor; needs nothing but PyTorch, and is the oracle for every other loader."""

    kind = "memory"

    def __init__(self, split: Split, preparation: Preparation, *, batch_size: int, seed: int, shuffle: bool) -> None:
        self.samples = len(split)
        self._split = split
        self._prepare = preparation
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle

    def __len__(self) -> int:
        return batch_count(self.samples, self._batch_size)

    @cached_property
    def digest(self) -> str:
        """Of the split and of what is made of it."""
        return digest.of_batches(self._split, self.epoch(0))

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch, the same whenever it is asked for."""
        order = epoch_order(self.samples, seed=self._seed, epoch=epoch, shuffle=self._shuffle)
        stream = augmentation_stream(seed=self._seed, epoch=epoch)
        for positions in torch.split(order, self._batch_size):
            with one_thread():
                images = self._split.images.index_select(0, positions)
                labels = self._split.labels.index_select(0, positions)
            yield self._prepare(images, labels, stream)

    def close(self) -> None:
        """Nothing to release."""
