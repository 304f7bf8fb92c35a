"""Reading an FFCV file in a given order. Importing this module imports FFCV, which takes seconds.

FFCV only decodes. Everything random happens later, in `bench.data.batches`, because FFCV's own augmentations do not
repeat for a seed.
"""

from __future__ import annotations

import itertools
import queue
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numba
import torch
from ffcv.fields.decoders import IntDecoder, NDArrayDecoder
from ffcv.loader import Loader
from ffcv.loader.epoch_iterator import EpochIterator
from ffcv.transforms import ToTensor
from torch import Tensor

from bench.data.errors import LoaderError
from bench.data.threads import one_thread

_FIRST_BATCH_S = 120.0  # numba compiles in it
_BATCH_S = 30.0
_POLL_S = 0.2
_STOP_S = 5.0


class _Worker(EpochIterator):  # type: ignore[misc]  # FFCV has no types
    """The thread that decodes one epoch; keeps the exception that ends it, of which FFCV tells nobody."""

    failure: BaseException | None = None

    def run(self) -> None:
        try:
            super().run()
        except BaseException as error:  # noqa: BLE001 -- raised again by the consumer
            self.failure = error


class Pipeline:
    """Decoded batches of an FFCV file.

    Args:
        path: the file.
        batch_size: samples in a batch.

    Raises:
        LoaderError: if FFCV cannot open the file.
    """

    def __init__(self, path: Path, *, batch_size: int) -> None:
        try:
            self._loader = Loader(
                str(path),
                batch_size=batch_size,
                num_workers=_threads(),
                os_cache=True,
                drop_last=False,
                seed=0,  # not used, but FFCV would draw one from NumPy's global generator
                pipelines={"image": [NDArrayDecoder(), ToTensor()], "label": [IntDecoder(), ToTensor()]},
            )
        except Exception as error:
            raise LoaderError(f"FFCV cannot open {path}: {error}") from error
        self._batch_timeout = _FIRST_BATCH_S

    def batches(self, order: Tensor) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Read samples in the order given.

        Args:
            order: (N,) int64, positions in the file.

        Yields:
            images (B, C, H, W) uint8 and labels (B,) int64, copies that the caller may keep.

        Raises:
            LoaderError: if the worker fails, or gives no batch in time.
        """
        self._loader.num_workers = _threads()
        worker = _Worker(self._loader, order.numpy())
        try:
            while (batch := _next(worker, self._batch_timeout)) is not None:
                self._batch_timeout = _BATCH_S
                images, labels = batch
                with one_thread():
                    # FFCV fills the same few buffers again and again.
                    images, labels = images.clone(), labels.squeeze(1).clone()
                yield images, labels
        finally:
            _stop(worker)


def _threads() -> int:
    """PyTorch's thread count: FFCV sets it anew, from several threads, so that only the same number is safe."""
    config: Any = numba.config
    return min(torch.get_num_threads(), int(config.NUMBA_NUM_THREADS))


def _next(worker: _Worker, timeout: float) -> tuple[Tensor, Tensor] | None:
    """The next batch in FFCV's buffers; None after the last."""
    deadline = time.monotonic() + timeout
    while True:
        # A worker seen dead before the queue was empty has put all that it ever will.
        alive = worker.is_alive()
        try:
            item = worker.output_queue.get(timeout=_POLL_S)
        except queue.Empty:
            if not alive:
                raise LoaderError(f"FFCV's worker died: {worker.failure}") from worker.failure
            if time.monotonic() > deadline:
                raise LoaderError(f"FFCV gave no batch in {timeout:.0f} seconds") from None
        else:
            return None if item is None else item[1]


def _stop(worker: _Worker) -> None:
    """End a worker whose epoch may have been left early: no more to do, and room for what it still has to say."""
    worker.iter_ixes = itertools.repeat(None, 0)
    deadline = time.monotonic() + _STOP_S
    while worker.is_alive() and time.monotonic() < deadline:
        try:
            worker.output_queue.get(timeout=_POLL_S / 10)
        except queue.Empty:
            continue
    worker.close()
