"""Writing one FFCV file, in a process of its own: ``python -m bench.data.beton_writer IMAGES.npy LABELS.npy OUT``.

FFCV's writer forks, which is not safe beside PyTorch's threads, and it waits for ever for a worker that has died, for
example on a full disk. A process can be watched, timed and ended.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import numpy as np
from numpy.typing import NDArray

from bench.data.errors import LoaderError

PAGE_BYTES = 1 << 21  # FFCV's smallest; a file is padded to whole pages

_START_S = 120.0
_SLOWEST_SAMPLES_PER_S = 500.0  # a hundredth of what is usual
_END_S = 5.0


class Samples:
    """An indexable data set of (image, label).

    Attributes:
        images: (N, C, H, W) uint8.
        labels: (N,) int64.
    """

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        return self.images[index], int(self.labels[index])


def run_writer(images: NDArray[np.uint8], labels: NDArray[np.int64], out: Path) -> None:
    """Write samples to an FFCV file with the fields ``image`` and ``label``, the same byte for byte every time.

    Args:
        images: (N, C, H, W).
        labels: (N,).
        out: in a temporary folder, which also takes the writer's input.

    Raises:
        LoaderError: if the writer fails or takes too long; it is ended.
    """
    images_path, labels_path = out.with_name("images.npy"), out.with_name("labels.npy")
    np.save(images_path, images)
    np.save(labels_path, labels)
    timeout = _START_S + len(labels) / _SLOWEST_SAMPLES_PER_S
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.data.beton_writer", images_path, labels_path, out],
        # Imports must work there as they do here, also where the package is not installed.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, said = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise LoaderError(f"FFCV did not write {len(labels)} samples within {timeout:.0f} seconds") from error
    finally:
        _end(process)
    if process.returncode != 0:
        raise LoaderError(f"FFCV could not write {len(labels)} samples: {_reason(said, process.returncode)}")


def _reason(said: str, status: int) -> str:
    errors = [line for line in said.splitlines() if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return errors[-1] if errors else f"exit status {status}"


def _end(process: subprocess.Popen[str]) -> None:
    """End the writer and its worker, which are a process group of their own."""
    with contextlib.suppress(ProcessLookupError):
        # Python's resource tracker, in the same group, ignores SIGTERM and frees the shared memory.
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.communicate(timeout=_END_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def _exit_with_worker(_signal: int, _frame: FrameType | None) -> None:
    # WNOWAIT leaves the status for multiprocessing to collect.
    ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended is not None and ended.si_status != 0:
        os._exit(1)


def _main(images_path: str, labels_path: str, out: str) -> None:
    from ffcv.fields import IntField, NDArrayField
    from ffcv.writer import DatasetWriter

    images = np.asarray(np.load(images_path, mmap_mode="r"))
    fields = {"image": NDArrayField(images.dtype, images.shape[1:]), "label": IntField()}
    signal.signal(signal.SIGCHLD, _exit_with_worker)
    # One worker: with more, pages come in any order.
    writer = DatasetWriter(out, fields, page_size=PAGE_BYTES, num_workers=1)
    writer.from_indexed_dataset(Samples(images, np.load(labels_path)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
