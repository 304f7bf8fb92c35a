"""Writes one FFCV file in a separate process: ``python -m bench.data.ffcv.beton_writer FOLDER OUT``.

FFCV's writer forks, which is not safe with PyTorch's threads, and waits forever for a worker that has died, for example
on a full disk. A separate process can be watched, timed out and killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType, MethodType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.data.ffcv.packing import Packing
from bench.errors import LoaderError

PAGE_BYTES = 1 << 21  # FFCV's smallest; a file is padded to whole pages

_START_S = 120.0
_SILENCE_S = 120.0
"""Seconds without progress after which the writer is killed; a chunk of a hundred images takes a hundredth of them."""
_END_S = 5.0

WITHOUT_NUMBA = {"NUMBA_THREADING_LAYER": "workqueue", "NUMBA_DISABLE_JIT": "1"}
"""FFCV starts numba's threads when it is imported. Those of its default layer, TBB, hang at exit of a writer on a
single core (numba issue 10556). Training keeps TBB: the work queue's threads slow it by a tenth. FFCV also compiles a
dictionary of numba's at import, for seconds; a writer calls nothing that is compiled."""

SampleProgress = Callable[[int], None]
"""Called with the number of samples written so far."""


class Samples(Protocol):
    """An indexable data set of (image, label)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Any, int]: ...


class Pixels:
    """Images in memory: (N, C, H, W) uint8, and labels (N,) int64."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        return self.images[index], int(self.labels[index])


class Files:
    """Image files in the form in which they will be stored, and labels."""

    def __init__(self, paths: list[str], labels: list[int], packing: Packing) -> None:
        self.paths = paths
        self.labels = labels
        self.packing = packing

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[tuple[bool, int, int, NDArray[np.uint8]], int]:
        return self.packing.stored(Path(self.paths[index]), int(index)), self.labels[index]


def write_pixels(
    images: NDArray[np.uint8], labels: NDArray[np.int64], out: Path, progress: SampleProgress = lambda _: None
) -> None:
    """Write images of one size to an FFCV file with the fields ``image`` and ``label``; bytes are reproducible.

    Args:
        images: (N, C, H, W).
        labels: (N,).
        out: the file, in a temporary folder that also takes the writer's input.
        progress: called with the number of samples written.

    Raises:
        LoaderError: if the writer fails or makes no progress; it is killed.
    """
    np.save(out.with_name("images.npy"), images)
    np.save(out.with_name("labels.npy"), labels)
    _run(out, len(labels), progress)


def write_files(
    paths: list[str],
    labels: list[int],
    packing: Packing,
    page: int,
    out: Path,
    progress: SampleProgress = lambda _: None,
) -> None:
    """Write image files to an FFCV file; see ``write_pixels``.

    Args:
        paths: of N images that can be decoded.
        labels: N.
        packing: how they are stored.
        page: bytes of a page, a power of two; no stored image is larger.
        out: see ``write_pixels``.
        progress: called with the number of samples written.

    Raises:
        LoaderError: if the writer fails or makes no progress; it is killed.
    """
    content = {"paths": paths, "labels": labels, "packing": str(packing), "page": page}
    out.with_name("files.json").write_text(json.dumps(content))
    _run(out, len(labels), progress)


def _run(out: Path, samples: int, progress: SampleProgress) -> None:
    with out.with_name("errors.txt").open("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.data.ffcv.beton_writer", out.parent, out],
            # Imports must resolve there as they do here, also if the package is not installed.
            env={**os.environ, **WITHOUT_NUMBA, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,  # kept open: the writer exits when this process does
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        try:
            _follow(process, samples, progress)
            # It has closed its output and is about to exit.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
        finally:
            _end(process)
            process.communicate()
        if process.returncode != 0:
            errors.seek(0)
            reason = _reason(errors.read(), process.returncode)
            raise LoaderError(f"FFCV could not write {samples} samples: {reason}")


def _follow(process: subprocess.Popen[bytes], samples: int, progress: SampleProgress) -> None:
    """Pass on the writer's progress until it closes its output."""
    assert process.stdout is not None  # noqa: S101 -- it is a pipe
    pipe = process.stdout.fileno()
    patience = _START_S
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if not selector.select(patience):
                raise LoaderError(f"FFCV, writing {samples} samples, made no progress in {patience:.0f} seconds")
            said = os.read(pipe, 1 << 16)
            if not said:
                return
            patience = _SILENCE_S
            numbers = said.split()
            if numbers:
                progress(int(numbers[-1]))


def _reason(said: str, status: int) -> str:
    errors = [line for line in said.splitlines() if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return errors[-1] if errors else f"exit status {status}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the writer and its worker, which form a process group."""
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


def _end_with_parent() -> None:
    """Exit with the worker when the input ends: the parent process is gone."""

    def wait() -> None:
        os.read(0, 1)
        os.killpg(0, signal.SIGTERM)

    if stat.S_ISFIFO(os.fstat(0).st_mode):  # otherwise it has no parent at the other end
        threading.Thread(target=wait, daemon=True).start()


class _Count:
    """Replaces FFCV's progress bar: prints the number of samples written, one per line."""

    def __init__(self, total: int) -> None:  # noqa: ARG002 -- called as the bar is
        self._done = 0
        print(self._done, flush=True)

    def update(self, more: int) -> None:
        self._done += more
        print(self._done, flush=True)

    def close(self) -> None:
        pass


def _store(_field: Any, destination: Any, value: tuple[bool, int, int, NDArray[np.uint8]], malloc: Any) -> None:
    """Replaces FFCV's encoding of an image, which would encode a JPEG file a second time."""
    is_jpeg, height, width, content = value
    destination["mode"] = 0 if is_jpeg else 1
    destination["height"], destination["width"] = height, width
    destination["data_ptr"], place = malloc(content.nbytes)
    place[:] = content


def _main(folder: str, out: str) -> None:
    from ffcv import writer
    from ffcv.fields import IntField, NDArrayField, RGBImageField

    listing = Path(folder) / "files.json"
    samples: Samples
    if listing.exists():
        content = json.loads(listing.read_text())
        samples, page = Files(content["paths"], content["labels"], Packing.parse(content["packing"])), content["page"]
        # The type is stored by class: a subclass would not be recognised when the file is read.
        image = RGBImageField()
        image.encode = MethodType(_store, image)
    else:
        images = np.asarray(np.load(Path(folder) / "images.npy", mmap_mode="r"))
        samples, page = Pixels(images, np.load(Path(folder) / "labels.npy")), PAGE_BYTES
        image = NDArrayField(images.dtype, images.shape[1:])
    writer.tqdm = _Count
    signal.signal(signal.SIGCHLD, _exit_with_worker)
    _end_with_parent()
    # One worker: with more, the order of pages is not reproducible.
    made = writer.DatasetWriter(out, {"image": image, "label": IntField()}, page_size=page, num_workers=1)
    made.from_indexed_dataset(samples)
    _check(out, len(samples))


def _check(out: str, samples: int) -> None:
    """Check that a file is complete: FFCV's writer does not notice short writes, as on a nearly full disk."""
    from bench.data.ffcv.beton_file import examined

    found = examined(Path(out))
    if found.samples != samples:
        raise OSError(f"the file holds {found.samples} samples")


if __name__ == "__main__":
    _main(*sys.argv[1:])
