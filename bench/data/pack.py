"""Writes a task's FFCV files before a run, and checks them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from bench.data import loaders
from bench.data.ffcv import beton
from bench.data.ffcv.beton import CountProgress
from bench.data.ffcv.packing import Packing
from bench.data.sets import splits
from bench.data.sets.arrays import Arrays
from bench.data.sets.encoded import Encoded
from bench.data.sets.files import FileStatus
from bench.data.sets.splits import Source, Split
from bench.data.sets.tasks import Task
from bench.errors import UserError


def pack(task: Task, data_dir: Path | None, packing: Packing | None, progress: CountProgress) -> list[Path]:
    """Write the files that are missing, damaged or stale.

    Args:
        task: the task.
        data_dir: folder of its files; None for the usual places.
        packing: how image files are stored; None for their original bytes.
        progress: called with the progress.

    Returns:
        The files: for a task in memory one per split, as a run uses them; for a folder of images one each for training
        and test set.

    Raises:
        UserError: if FFCV or data are missing, something cannot be stored, or ``packing`` is given for a task without
            image files.
        LoaderError: if an image cannot be decoded, or FFCV fails to write.
    """
    loaders.resolve_kind("ffcv")
    arrays = task.read(data_dir)
    if packing is not None and isinstance(arrays.train_images, Tensor):
        raise UserError(f"images of {task.name} are stored as arrays: packing options apply only to image files")
    written = []
    for source, part in _parts(task, arrays):
        if isinstance(part, Split):
            written.append(beton.ensure_beton(task, part, None, progress))
        else:
            written.append(beton.ensure_packed(task, part.listing, source, packing or Packing(), None, progress))
    return written


def verify(task: Task, data_dir: Path | None) -> list[FileStatus]:
    """Check all packed files of a task; empty if its data is not on this machine.

    Files of other training subsets (``train_limit``) are left out.
    """
    folder = beton.folder_of(None)
    if not loaders.is_installed() or not any(folder.glob(f"{task.name}-*.beton")):
        return []
    found = []
    for source, part in _parts(task, task.read(data_dir)):
        if isinstance(part, Split):
            path = folder / f"{task.name}-{source}-{beton.content_key(part)}.beton"
            paths = [path] if path.exists() else []
        else:
            paths = sorted(
                path for name in ("jpeg", "raw") for path in folder.glob(f"{task.name}-{source}-{name}*.beton")
            )
        found += [beton.verify(task, part, path) for path in paths]
    return found


def _parts(task: Task, arrays: Arrays) -> Iterator[tuple[Source, Split | Encoded]]:
    """The sources of a task's packed files."""
    if isinstance(arrays.train_images, Encoded) and isinstance(arrays.test_images, Encoded):
        yield "train", arrays.train_images
        yield "test", arrays.test_images
        return
    parts = splits.split(task, arrays)
    for part in (parts.train, parts.validation, parts.test):
        yield part.source, part
