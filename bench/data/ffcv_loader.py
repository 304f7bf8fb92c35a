"""The loader that decodes an FFCV file; the same tensors as the memory loader's, bit for bit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data import digest
from bench.data.batches import Batch, Preparation, augmentation_stream, batch_count, epoch_order
from bench.data.errors import LoaderError
from bench.data.splits import Split
from bench.data.threads import threads_kept

if TYPE_CHECKING:
    from bench.data.ffcv_pipeline import Pipeline


class FFCVLoader:
    """Reads a split's file with FFCV; shuffles, augments and normalises as every loader here.

    Args:
        path: holds exactly the split, in its order.
        split: the samples.
        preparation: augmentation, device, normalisation.
        batch_size: the last batch may be smaller.
        seed: order and augmentation are functions of this and the epoch.
        shuffle: False keeps the file's order.

    Raises:
        LoaderError: if FFCV cannot be imported or cannot open the file.
    """

    kind = "ffcv"

    def __init__(
        self, path: Path, split: Split, preparation: Preparation, *, batch_size: int, seed: int, shuffle: bool
    ) -> None:
        self.samples = len(split)
        self._split = split
        self._prepare = preparation
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        self._pipeline: Pipeline | None
        # FFCV sets PyTorch's thread count when it is imported, when a loader is made and whenever one iterates.
        with threads_kept():
            try:
                from bench.data.ffcv_pipeline import Pipeline
            except (ImportError, OSError) as error:
                raise LoaderError(f"FFCV is installed but cannot be imported: {error}") from error
            self._pipeline = Pipeline(path, batch_size=batch_size)

    def __len__(self) -> int:
        return batch_count(self.samples, self._batch_size)

    @cached_property
    def digest(self) -> str:
        """Of the split and of what is made of it."""
        return digest.of_batches(self._split, self.epoch(0))

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch, the same whenever it is asked for.

        Raises:
            LoaderError: if FFCV fails, or the loader is closed.
        """
        if self._pipeline is None:
            raise LoaderError("the loader is closed")
        order = epoch_order(self.samples, seed=self._seed, epoch=epoch, shuffle=self._shuffle)
        stream = augmentation_stream(seed=self._seed, epoch=epoch)
        decoded = self._pipeline.batches(order)
        with contextlib.closing(decoded):
            while True:
                with threads_kept():
                    batch = next(decoded, None)
                if batch is None:
                    return
                yield self._prepare(*batch, stream)

    def close(self) -> None:
        """Let go of the file and its buffers."""
        self._pipeline = None
