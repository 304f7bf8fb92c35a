"""Loaders: batches of a split as a function of (seed, epoch), the same for every kind of loader."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from bench.data.batches import framing
from bench.data.batches.device_loader import DeviceLoader
from bench.data.batches.memory import MemoryLoader
from bench.data.batches.plan import Preparation
from bench.data.batches.scaling import Scaling
from bench.data.ffcv.packing import Packing
from bench.data.sets.encoded import Encoded
from bench.data.sets.splits import Split
from bench.data.sets.tasks import Task
from bench.errors import LoaderError, UserError, unknown
from bench.inputs import count_in

if TYPE_CHECKING:
    from bench.data.ffcv.beton import CountProgress

__all__ = ["INSTALL_FFCV", "KINDS", "Loader", "LoaderError", "make_loader", "resolve_kind"]

KINDS = ("auto", "ffcv", "memory", "device", "torch")
WORKERS = "BENCH_WORKERS"
"""Environment variable with the number of threads or processes that read samples."""
INSTALL_FFCV = "apt-get install g++ libopencv-dev libturbojpeg0-dev pkg-config && pip install ffcv setuptools"


class Loader(Protocol):
    """The interface of a loader.

    Attributes:
        kind: ``"memory"``, ``"ffcv"``, ``"device"`` or ``"torch"``.
        samples: samples per epoch.
        digest: see ``bench.data.batches.digest``.
    """

    @property
    def kind(self) -> str: ...  # noqa: D102 -- described by the class

    @property
    def samples(self) -> int: ...  # noqa: D102 -- described by the class

    @property
    def digest(self) -> str: ...  # noqa: D102 -- described by the class

    def __len__(self) -> int:
        """Batches per epoch, counting a smaller last one."""
        ...

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch, the same on every call.

        Yields:
            images (B, C, H, W) float32, normalised, and labels (B,) int64, both on the loader's device and owned by the
            caller.

        Raises:
            LoaderError: if batches stop coming.
        """
        ...

    def close(self) -> None:
        """Release threads and files; the loader gives no more batches."""
        ...


@cache
def _ffcv_works() -> bool:
    """Whether FFCV can be imported, found out without importing it, which takes seconds."""
    spec = importlib.util.find_spec("ffcv")
    if spec is None or not spec.submodule_search_locations:
        return False
    if any(importlib.util.find_spec(name) is None for name in ("cv2", "numba", "distutils")):
        return False
    compiled = [path for folder in spec.submodule_search_locations for path in Path(folder).glob("_libffcv*")]
    if not compiled:
        return False
    try:
        # It is built against the machine's OpenCV and TurboJPEG, which may have been removed.
        ctypes.CDLL(str(compiled[0]))
    except OSError:
        return False
    return True


def is_installed() -> bool:
    """Whether FFCV can be used on this machine."""
    return _ffcv_works()


def fits_on_device(
    task: Task, augmentation: Sequence[str] = (), resolutions: Sequence[tuple[int, int]] | None = None
) -> bool:
    """Whether loader ``"device"`` can have a task: one of arrays, which are small, with images as they are stored."""
    return getattr(task, "folder", None) is None and framing.RANDOM not in augmentation and not resolutions


def resolve_kind(kind: str, device: str = "cpu", *, fits: bool = False) -> str:
    """The kind of loader to use.

    ``"auto"`` is ``"device"`` on a GPU, if ``fits`` says that the task can be there; else ``"ffcv"`` if installed, else
    ``"memory"``.

    Raises:
        UserError: if the kind is unknown, or is ``"ffcv"`` and FFCV is not installed.
    """
    if kind not in KINDS:
        raise unknown("loader", kind, KINDS)
    if kind == "auto" and fits and device != "cpu":
        return "device"
    if kind == "auto":
        return "ffcv" if _ffcv_works() else "memory"
    if kind == "ffcv" and not _ffcv_works():
        raise UserError(f"loader 'ffcv' needs FFCV, which is not installed: run {INSTALL_FFCV}, or use loader 'memory'")
    return kind


def workers_wanted() -> int | None:
    """Threads or processes that read samples, from the environment; None: the loader decides. Affects no result.

    Raises:
        UserError: if the environment variable is not a number from 1.
    """
    return count_in(WORKERS)


def make_loader(
    kind: str,
    task: Task,
    split: Split,
    *,
    batch_size: int,
    seed: int,
    shuffle: bool,
    augmentation: Sequence[str],
    device: torch.device,
    cache_dir: Path | None = None,
    resolutions: Sequence[tuple[int, int]] = (),
    packing: str | None = None,
    scaling: Scaling = "standard",
    workers: int | None = None,
    progress: CountProgress | None = None,
) -> Loader:
    """Make a loader for one split.

    Args:
        kind: one of ``KINDS``.
        task: gives mean and deviation.
        split: the samples.
        batch_size: at least 1; the last batch may be smaller.
        seed: determines order and augmentation, together with the epoch.
        shuffle: a new permutation every epoch; False keeps the split's own order.
        augmentation: names in ``bench.data.batches.augment.AUGMENTATIONS``.
        device: where batches go.
        cache_dir: folder for the files of kind ``"ffcv"``; None for the user's cache.
        resolutions: (epoch, side) pairs: from this epoch on, counted from 1, images are square with this side.
        packing: how kind ``"ffcv"`` stores image files, see ``bench.data.ffcv.packing``; None: original bytes.
        scaling: from pixel values to inputs, see ``bench.data.batches.scaling``.
        workers: threads that decode (``"ffcv"``) or processes that transform (``"torch"``); None for the
            environment variable's number, else PyTorch's thread count. Affects no batch.
        progress: called with the progress of writing a file.

    Raises:
        UserError: if a name is unknown, FFCV is requested but missing, ``batch_size`` is below 1, the split is empty,
            its samples do not fit the task, or images do not fit into memory.
        LoaderError: if FFCV cannot write or open its file, or an image cannot be decoded.
    """
    if batch_size < 1:
        raise UserError(f"batch_size must be at least 1, got {batch_size}")
    if len(split) == 0:
        raise UserError(f"the {split.source} split of {task.name} is empty")
    files = split.images if isinstance(split.images, Encoded) else None
    share = None if files is None else getattr(task, "evaluation_share", 1.0)
    preparation = Preparation.of(task, augmentation, device, share=share, resolutions=resolutions, scaling=scaling)
    workers = workers or workers_wanted()
    kind = resolve_kind(kind)
    if kind == "torch":
        from bench.data.batches.torch_loader import TorchLoader

        return TorchLoader(split, preparation, batch_size=batch_size, seed=seed, shuffle=shuffle, workers=workers)
    if kind in ("memory", "device"):
        made = MemoryLoader if kind == "memory" else DeviceLoader
        return made(split, preparation, batch_size=batch_size, seed=seed, shuffle=shuffle)
    from bench.data.ffcv import beton
    from bench.data.ffcv.loader import FFCVLoader

    if files is None:
        path, rows, held = beton.ensure_beton(task, split, cache_dir, progress), None, None
    else:
        packed = Packing.parse(packing or "jpeg")
        path = beton.ensure_packed(task, files.listing, split.source, packed, cache_dir, progress)
        rows, held = files.rows, len(files.listing)
    return FFCVLoader(
        path,
        split,
        preparation,
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffle,
        rows=rows,
        file_samples=held,
        workers=workers,
    )
