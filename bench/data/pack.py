"""A task's FFCV files: writing them ahead of a run, and checking them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from bench.data import loaders
from bench.data.ffcv import beton
from bench.data.ffcv.beton import Report
from bench.data.ffcv.packing import Packing
from bench.data.sets import splits
from bench.data.sets.arrays import Arrays
from bench.data.sets.encoded import Encoded
from bench.data.sets.files import FileStatus
from bench.data.sets.splits import Source, Split
from bench.data.sets.tasks import Task
from bench.errors import UserError


def pack(task: Task, data_dir: Path | None, packing: Packing | None, report: Report) -> list[Path]:
    """Write whatever files are not there, whole and of the data that are there now.

    Args:
        task: whose images.
        data_dir: where its files are; None for the usual places.
        packing: how image files are stored; None for their own bytes.
        report: told of the progress.

    Returns:
        The files: of a task in memory one for each split, as a run uses them; of a folder of images one for its
        training and one for its test set.

    Raises:
        UserError: if FFCV or data are missing, something cannot be stored, or ``packing`` is given for a task that has
            no image files.
        LoaderError: if an image cannot be decoded, or FFCV fails to write.
    """
    loaders.resolve_kind("ffcv")
    arrays = task.read(data_dir)
    if packing is not None and isinstance(arrays.train_images, Tensor):
        raise UserError(f"images of {task.name} are small arrays and always stored as such; leave the packing out")
    written = []
    for source, part in _parts(task, arrays):
        if isinstance(part, Split):
            written.append(beton.ensure_beton(task, part, None, report))
        else:
            written.append(beton.ensure_packed(task, part.listing, source, packing or Packing(), None, report))
    return written


def verify(task: Task, data_dir: Path | None) -> list[FileStatus]:
    """The state of every file of a task that has been packed; of data that are not there, nothing is said.

    Files of other training subsets (``train_limit``) belong to no split that is known here, and are left out.
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
    """What a task's files are made of."""
    if isinstance(arrays.train_images, Encoded) and isinstance(arrays.test_images, Encoded):
        yield "train", arrays.train_images
        yield "test", arrays.test_images
        return
    parts = splits.split(task, arrays)
    for part in (parts.train, parts.validation, parts.test):
        yield part.source, part
