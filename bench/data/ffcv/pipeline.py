"""Reads an FFCV file in a given order. Importing this module imports FFCV, which takes seconds.

FFCV reads and decodes, with the decoders of `bench.data.ffcv.decode`. Everything random is decided beforehand, in a
batch's plan, because FFCV's own augmentations are not reproducible from a seed.
"""

from __future__ import annotations

import collections
import contextlib
import queue
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from ffcv.fields import NDArrayField
from ffcv.loader import Loader
from ffcv.loader.epoch_iterator import EpochIterator
from ffcv.pipeline.compiler import Compiler
from ffcv.pipeline.pipeline_spec import PipelineSpec
from ffcv.reader import Reader
from numpy.typing import NDArray
from torch import Tensor

from bench.data.batches import heartbeat as heartbeats
from bench.data.batches.heartbeat import Heartbeat
from bench.data.ffcv.beton_file import check_size
from bench.data.ffcv.decode import Labels, Pictures, RawArrays, Request
from bench.errors import LoaderError

_OF_FFCV = 1
"""Threads that FFCV sets for PyTorch in its worker. With more, PyTorch operations in the worker start a second team of
OpenMP threads; if both teams together have more threads than there are cores, all of them sleep after each operation
instead of spinning, and a small network trains at half its speed."""
_STOP_S = 1.0


class _Worker(EpochIterator):  # type: ignore[misc]  # FFCV has no types
    """The thread that decodes one epoch; keeps the exception that ends it, which FFCV drops."""

    failure: BaseException | None = None

    def __init__(self, loader: Loader, requests: Iterator[Request]) -> None:
        self._requests = requests
        # No order: FFCV would list all batches of the epoch.
        super().__init__(loader, ())

    def start(self) -> None:
        self.iter_ixes = self._requests
        super().start()

    def run(self) -> None:
        try:
            super().run()
        except BaseException as error:  # noqa: BLE001 -- re-raised by the consumer
            self.failure = error


@contextlib.contextmanager
def _not_compiled() -> Iterator[None]:
    """Let FFCV build its pipeline of uncompiled functions: numba would compile them for seconds in every process."""
    before = getattr(Compiler, "is_enabled", True)
    Compiler.set_enabled(False)
    try:
        yield
    finally:
        Compiler.set_enabled(before)


class Pipeline:
    """Decoded batches of an FFCV file.

    Args:
        path: the file.
        batch_size: samples in a batch.
        samples: number of samples that the file must hold.
        workers: threads that decode JPEG files.

    Raises:
        LoaderError: if FFCV cannot open the file, or it is incomplete.
    """

    def __init__(self, path: Path, *, batch_size: int, samples: int, workers: int) -> None:
        self._path = path
        self._bytes = path.stat().st_size
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="jpeg")
        try:
            with _not_compiled():
                self._loader = self._open(batch_size, workers)
        except Exception as error:
            self.close()
            raise LoaderError(f"FFCV cannot open {path}: {error}") from error
        held = int(self._loader.reader.num_samples)
        if held != samples:
            self.close()
            raise LoaderError(f"{path} holds {held} samples, expected {samples}")

    def _open(self, batch_size: int, workers: int) -> Loader:
        reader = Reader(str(self._path))
        check_size(self._path, reader.header, reader.alloc_table)
        raw = isinstance(reader.handlers["image"], NDArrayField)
        image = RawArrays() if raw else Pictures(_stored_bytes(reader), self._threads, workers)
        return Loader(
            str(self._path),
            batch_size=batch_size,
            num_workers=_OF_FFCV,
            os_cache=True,
            drop_last=False,
            seed=0,  # unused; without it FFCV draws one from NumPy's global generator
            pipelines={name: PipelineSpec(name, decoder) for name, decoder in (("image", image), ("label", Labels()))},
        )

    def batches(
        self, requests: Iterator[Request], heartbeat: Heartbeat
    ) -> Generator[tuple[Tensor, Tensor, Request], None, None]:
        """Read the requested batches.

        Args:
            requests: of an epoch; consumed in the worker's thread.
            heartbeat: the heartbeat of the requests.

        Yields:
            images (B, C, H, W) uint8 and labels (B,) int64, owned by the caller, and the request.

        Raises:
            LoaderError: if the worker dies, or hangs on a sample.
        """
        if self._path.stat().st_size != self._bytes:
            raise LoaderError(f"{self._path} has changed while it was in use; start again")
        asked: collections.deque[Request] = collections.deque()

        def noted() -> Iterator[Request]:
            for request in requests:
                asked.append(request)
                yield request

        worker = _Worker(self._loader, noted())
        try:
            while (batch := _next(worker, heartbeat)) is not None:
                yield *batch, asked.popleft()
        finally:
            _stop(worker)

    def close(self) -> None:
        """End the threads and close the file."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        loader = self.__dict__.pop("_loader", None)
        if loader is not None:
            loader.memory_manager.context.mmap = None


def _stored_bytes(reader: Any) -> NDArray[np.int64]:
    """Bytes of every sample, by row: FFCV keeps them only by place in the file."""
    table = np.sort(reader.alloc_table, order="ptr")
    places = np.searchsorted(table["ptr"], reader.metadata["f0"]["data_ptr"])
    return np.asarray(table["size"][places].astype(np.int64))


def _next(worker: _Worker, heartbeat: Heartbeat) -> tuple[Tensor, Tensor] | None:
    """The next batch; None after the last."""
    heartbeat.since = time.monotonic()
    while True:
        # A worker seen dead before the queue was empty has already put everything.
        alive = worker.is_alive()
        try:
            item = worker.output_queue.get(timeout=heartbeats.POLL_S)
        except queue.Empty:
            if not alive:
                raise LoaderError(f"FFCV's worker died at {heartbeat.sample()}: {worker.failure}") from worker.failure
            if heartbeat.silent_for() > heartbeats.SILENCE_S:
                silent = (
                    f"FFCV's worker has been silent for {heartbeat.silent_for():.1f} seconds at {heartbeat.sample()}"
                )
                raise LoaderError(silent) from None
        else:
            return None if item is None else item[1]


def _stop(worker: _Worker) -> None:
    """End a worker whose epoch may have been left early: stop its requests and drain its queue."""
    worker.iter_ixes = iter(())
    deadline = time.monotonic() + _STOP_S
    while worker.is_alive() and time.monotonic() < deadline:
        try:
            worker.output_queue.get(timeout=heartbeats.POLL_S / 10)
        except queue.Empty:
            continue
    worker.close()
