"""Loaders: batches of a split as functions of (seed, epoch), whichever kind makes them."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from bench.data.batches import Preparation
from bench.data.errors import LoaderError
from bench.data.memory import MemoryLoader
from bench.data.splits import Split
from bench.data.tasks import Task
from bench.errors import UserError, unknown

__all__ = ["INSTALL_FFCV", "KINDS", "Loader", "LoaderError", "make_loader", "resolve_kind"]

KINDS = ("auto", "ffcv", "memory")
INSTALL_FFCV = "apt-get install g++ libopencv-dev libturbojpeg0-dev pkg-config && pip install ffcv setuptools"


class Loader(Protocol):
    """What training asks of a loader.

    Attributes:
        kind: ``"memory"`` or ``"ffcv"``.
        samples: samples per epoch.
        digest: see ``bench.data.digest``.
    """

    @property
    def kind(self) -> str: ...  # noqa: D102 -- described by the class

    @property
    def samples(self) -> int: ...  # noqa: D102 -- described by the class

    @property
    def digest(self) -> str: ...  # noqa: D102 -- described by the class

    def __len__(self) -> int:
        """Batches per epoch, the last, smaller one included."""
        ...

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch, the same whenever it is asked for.

        Yields:
            images (B, C, H, W) float32, normalised, and labels (B,) int64, both on the loader's device; the caller
            may keep or change them.

        Raises:
            LoaderError: if batches stop coming.
        """
        ...

    def close(self) -> None:
        """Release threads and files; the loader gives no more batches."""
        ...


@cache
def _ffcv_works() -> bool:
    """Whether FFCV could be imported, found out without importing it, which takes seconds."""
    spec = importlib.util.find_spec("ffcv")
    if spec is None or not spec.submodule_search_locations:
        return False
    if any(importlib.util.find_spec(name) is None for name in ("cv2", "numba", "distutils")):
        return False
    compiled = [path for folder in spec.submodule_search_locations for path in Path(folder).glob("_libffcv*")]
    if not compiled:
        return False
    try:
        # It is built against the machine's OpenCV and TurboJPEG, which may be gone.
        ctypes.CDLL(str(compiled[0]))
    except OSError:
        return False
    return True


def resolve_kind(kind: str) -> str:
    """The kind of loader that will be used: ``"auto"`` is ``"ffcv"`` where it is installed, else ``"memory"``.

    Raises:
        UserError: if the kind is unknown, or is ``"ffcv"`` and FFCV is not installed.
    """
    if kind not in KINDS:
        raise unknown("loader", kind, KINDS)
    if kind == "auto":
        return "ffcv" if _ffcv_works() else "memory"
    if kind == "ffcv" and not _ffcv_works():
        raise UserError(f"loader 'ffcv' needs FFCV, which is not installed: run {INSTALL_FFCV}, or use loader 'memory'")
    return kind


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
) -> Loader:
    """A loader for one split.

    Args:
        kind: ``"auto"``, ``"memory"`` or ``"ffcv"``.
        task: gives the normalisation.
        split: the samples.
        batch_size: at least 1; the last batch may be smaller.
        seed: order and augmentation are functions of this and the epoch.
        shuffle: a new permutation every epoch; False keeps the split's own order.
        augmentation: names in ``bench.data.augment.AUGMENTATIONS``.
        device: where batches go.
        cache_dir: where kind ``"ffcv"`` keeps its files; None is the user's cache.

    Raises:
        UserError: if a name is unknown, FFCV is asked for but missing, ``batch_size`` is below 1, the split is empty,
            or its samples are not what the task says.
        LoaderError: if FFCV cannot write or open its file.
    """
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}, but must be at least 1")
    if len(split) == 0:
        raise UserError(f"the {split.source} split of {task.name} is empty")
    preparation = Preparation.of(task, augmentation, device)
    if resolve_kind(kind) == "memory":
        return MemoryLoader(split, preparation, batch_size=batch_size, seed=seed, shuffle=shuffle)
    from bench.data.beton import ensure_beton
    from bench.data.ffcv_loader import FFCVLoader

    beton = ensure_beton(task, split, cache_dir)
    return FFCVLoader(beton, split, preparation, batch_size=batch_size, seed=seed, shuffle=shuffle)
