"""The loader that reads an FFCV file; for raw images its tensors equal the memory loader's, bit for bit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from bench.data.batches import digest, transfer
from bench.data.batches.heartbeat import Heartbeat
from bench.data.batches.plan import Batch, Preparation, batch_count
from bench.data.batches.threads import threads_kept
from bench.data.sets.splits import Split
from bench.errors import LoaderError

if TYPE_CHECKING:
    from bench.data.ffcv.decode import Request
    from bench.data.ffcv.pipeline import Pipeline


class FFCVLoader:
    """Reads a split's file with FFCV; order, augmentation and normalisation as in every loader.

    Args:
        path: the file.
        split: the samples.
        preparation: framing, augmentation, device, normalisation.
        batch_size: the last batch may be smaller.
        seed: determines order and augmentation, together with the epoch.
        shuffle: False keeps the split's order.
        rows: (N,) rows of the split's samples in the file; None if it holds exactly the split.
        file_samples: number of samples in the file; None for as many as in the split.
        workers: threads that decode JPEG files; None for PyTorch's thread count.

    Raises:
        LoaderError: if FFCV cannot be imported or cannot open the file.
    """

    kind = "ffcv"

    def __init__(
        self,
        path: Path,
        split: Split,
        preparation: Preparation,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        rows: NDArray[np.int64] | None = None,
        file_samples: int | None = None,
        workers: int | None = None,
    ) -> None:
        self.samples = len(split)
        self._split = split
        self._prepare = preparation
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        self._path = path
        self._rows = np.arange(len(split)) if rows is None else rows
        self._pipeline: Pipeline | None
        workers = workers or torch.get_num_threads()
        # FFCV sets PyTorch's thread count on import, when a loader is made and whenever one iterates.
        with threads_kept():
            try:
                from bench.data.ffcv.pipeline import Pipeline
            except (ImportError, OSError) as error:
                raise LoaderError(f"FFCV is installed but cannot be imported: {error}") from error
            held = len(split) if file_samples is None else file_samples
            self._pipeline = Pipeline(path, batch_size=batch_size, samples=held, workers=workers)

    def __len__(self) -> int:
        return batch_count(self.samples, self._batch_size)

    @cached_property
    def digest(self) -> str:
        """Digest of the split and its preparation, see ``bench.data.batches.digest``."""
        return digest.of_batches(self._split, self.epoch(0))

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch, the same on every call.

        Raises:
            LoaderError: if FFCV fails, or the loader is closed.
        """
        if self._pipeline is None:
            raise LoaderError("the loader is closed")
        return transfer.prepared(self._stored(self._pipeline, epoch), self._prepare, self._batch_size)

    def _stored(self, pipeline: Pipeline, epoch: int) -> Iterator[transfer.Stored]:
        heartbeat = Heartbeat(self._name)
        decoded = pipeline.batches(self._requests(epoch, heartbeat), heartbeat)
        with contextlib.closing(decoded):
            while True:
                with threads_kept():
                    batch = next(decoded, None)
                if batch is None:
                    return
                images, labels, request = batch
                yield images, labels, request.plan

    def _requests(self, epoch: int, heartbeat: Heartbeat) -> Iterator[Request]:
        from bench.data.ffcv.decode import Request

        keeps = self._prepare.framing.keeps(epoch)
        plans = self._prepare.plans_together(
            self.samples, batch_size=self._batch_size, seed=self._seed, epoch=epoch, shuffle=self._shuffle
        )
        for plan in plans:
            yield Request(plan, self._rows[plan.positions.numpy()], self._prepare.framing, keeps, heartbeat)

    def _name(self, position: int) -> str:
        return f"{self._split.name(position)}, read from {self._path}"

    def close(self) -> None:
        """Close the file and end its threads."""
        if self._pipeline is not None:
            self._pipeline.close()
        self._pipeline = None
