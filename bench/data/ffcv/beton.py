"""Splits as FFCV files in the user's cache: written once, checked before every use, rewritten if stale or damaged."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor

from bench.data.ffcv import sample_check
from bench.data.ffcv.beton_writer import PAGE_BYTES, write_files, write_pixels
from bench.data.ffcv.packing import Packing, page_bytes
from bench.data.sets.encoded import Encoded, Listing
from bench.data.sets.files import FileStatus
from bench.data.sets.splits import Source, Split
from bench.data.sets.tasks import Task
from bench.errors import UserError
from bench.inputs import cache_root

_FORMAT = 1  # version of the way files are written; files of older versions are not used

CountProgress = Callable[[str, int, int], None]
"""Progress callback: (activity, done, total)."""

_checked: set[tuple[Path, str, int, int]] = set()


@dataclass(frozen=True)
class Manifest:
    """Metadata next to an FFCV file; its existence shows that the file was written completely.

    Attributes:
        sha256: of the whole file.
        samples: number of samples in the file.
        classes: number of samples of each class, by label from 0.
        sources: sha256 of the source data: of images and labels, or of the checksums of all files and their labels.
        key: identifies the source data without reading it.
        packing: how images are stored; empty where they come from memory.
        format: version of the way it was written.
    """

    sha256: str
    samples: int
    classes: tuple[int, ...]
    sources: str
    key: str
    packing: str = ""
    format: int = _FORMAT


def content_key(split: Split) -> str:
    """Hash a split's images and labels: 16 hexadecimal digits."""
    return _content_hash(split)[:16]


def _content_hash(split: Split) -> str:
    assert isinstance(split.images, Tensor)  # noqa: S101 -- files have a listing's key
    digest = hashlib.sha256(repr((_FORMAT, tuple(split.images.shape))).encode())
    digest.update(split.images.numpy().data)
    digest.update(split.labels.numpy().data)
    return digest.hexdigest()


def validate(task: Task, split: Split) -> None:
    """Check everything that FFCV's writer would hang on or write wrongly.

    Raises:
        UserError: if a shape, type or label is not what the task says.
    """
    images, labels = split.images, split.labels
    expected = (len(labels), *task.shape)
    assert isinstance(images, Tensor)  # noqa: S101 -- files are checked one by one
    if images.dtype != torch.uint8 or tuple(images.shape) != expected:
        raise UserError(f"{task.name}: images are {images.dtype} {tuple(images.shape)}, expected uint8 {expected}")
    if labels.dtype != torch.int64 or labels.ndim != 1:
        raise UserError(f"{task.name}: labels are {labels.dtype} {tuple(labels.shape)}, expected int64 (N,)")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= task.classes:
        raise UserError(f"{task.name}: labels run from {lowest} to {highest}, expected 0 to {task.classes - 1}")
    if images[0].numel() > PAGE_BYTES:
        raise UserError(f"{task.name}: an image has {images[0].numel()} bytes, loader 'ffcv' takes up to {PAGE_BYTES}")


def folder_of(cache_dir: Path | None) -> Path:
    """The folder of FFCV files: ``betons`` in ``cache_dir``, or in the user's cache."""
    return (cache_root() if cache_dir is None else cache_dir) / "betons"


def ensure_beton(
    task: Task, split: Split, cache_dir: Path | None = None, progress: CountProgress | None = None
) -> Path:
    """The FFCV file of a split in memory: from the cache if intact, else written now.

    Its name contains a hash of the content, so that another data set or another ``train_limit`` gets another file.

    Args:
        task: names the file and defines valid samples.
        split: at least one sample, on the CPU.
        cache_dir: parent of the folder ``betons``; None for the user's cache.
        progress: called with the progress.

    Raises:
        UserError: if a sample does not fit the task, or the cache cannot be written.
        LoaderError: if FFCV fails to write.
    """
    validate(task, split)
    whole = _content_hash(split)
    path = folder_of(cache_dir) / f"{task.name}-{split.source}-{whole[:16]}.beton"

    def write(out: Path) -> Manifest:
        assert isinstance(split.images, Tensor)  # noqa: S101 -- as validated
        counted = _counted(progress, f"writing {path.name}", len(split))
        write_pixels(split.images.numpy(), split.labels.numpy(), out, counted)
        return Manifest(_sha256(out), len(split), _histogram(split.labels), whole, whole[:16])

    return _ensure(path, len(split), whole[:16], write)


def ensure_packed(
    task: Task,
    listing: Listing,
    source: Source,
    packing: Packing,
    cache_dir: Path | None = None,
    progress: CountProgress | None = None,
) -> Path:
    """The FFCV file of a folder of images: from the cache if intact and made from these files, else written now.

    All images are decoded and all labels checked before writing starts.

    Args:
        task: names the file and gives the number of classes.
        listing: all files of the training or test set.
        source: which of the two.
        packing: how images are stored.
        cache_dir: parent of the folder ``betons``; None for the user's cache.
        progress: called with the progress.

    Raises:
        UserError: if a label is out of range, or the cache cannot be written.
        LoaderError: if an image cannot be decoded, or FFCV fails to write.
    """
    path = packed_path(task, source, packing, cache_dir)
    sample_check.labels(listing, task.classes)

    def write(out: Path) -> Manifest:
        name = f"checking {task.name} {source}"
        found = sample_check.images(listing, packing, _counted(progress, name, len(listing)))
        paths = [str(listing.path(row).absolute()) for row in range(len(listing))]
        counted = _counted(progress, f"writing {path.name}", len(listing))
        write_files(paths, listing.labels.tolist(), packing, page_bytes(found.largest), out, counted)
        classes = _histogram(listing.labels)
        return Manifest(_sha256(out), len(listing), classes, found.sources, listing.key, str(packing))

    return _ensure(path, len(listing), listing.key, write)


def packed_path(task: Task, source: Source, packing: Packing, cache_dir: Path | None = None) -> Path:
    """The path of the FFCV file of a folder of images, whether it exists or not."""
    slug = str(packing).replace(",", "-").replace("=", "")
    return folder_of(cache_dir) / f"{task.name}-{source}-{slug}.beton"


def verify(task: Task, data: Split | Encoded, path: Path) -> FileStatus:
    """Check a packed file: its bytes, its tables, and whether its source data is unchanged.

    Args:
        task: the task it belongs to.
        data: its source: a split in memory, or all files of a training or test set.
        path: the file.
    """
    from bench.data.ffcv.beton_file import examined

    manifest = _manifest(path)
    if not path.exists():
        return FileStatus(path.name, "missing", f"`bench data pack {task.name}` writes it")
    if manifest is None:
        return FileStatus(path.name, "damaged", "it has no manifest that can be read")
    if _sha256(path) != manifest.sha256:
        return FileStatus(path.name, "damaged", "its sha256 is not that of its manifest")
    try:
        found = examined(path)
    except ValueError as error:
        return FileStatus(path.name, "damaged", str(error))
    if (found.samples, found.classes) != (manifest.samples, tuple(manifest.classes)):
        return FileStatus(path.name, "damaged", "its samples or classes are not those of its manifest")
    sources = _content_hash(data) if isinstance(data, Split) else sample_check.checksum(data.listing)
    if sources != manifest.sources:
        return FileStatus(path.name, "damaged", "stale: its sources have changed since it was written")
    return FileStatus(path.name, "ok", f"{manifest.samples} samples")


def _counted(progress: CountProgress | None, what: str, total: int) -> Callable[[int], None]:
    return (lambda _: None) if progress is None else lambda done: progress(what, done, total)


def _histogram(labels: Tensor) -> tuple[int, ...]:
    return tuple(torch.bincount(labels).tolist())


def _ensure(path: Path, samples: int, key: str, write: Callable[[Path], Manifest]) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            complaint = _complaint(path, samples, key)
            if complaint is not None:
                if path.exists():
                    print(f"note: {path} is {complaint}; rewriting it", file=sys.stderr)
                _write(path, write)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def _manifest_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(path: Path) -> Manifest | None:
    try:
        return Manifest(**json.loads(_manifest_path(path).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _complaint(path: Path, samples: int, key: str) -> str | None:
    """Why a file cannot be used, None if it can; hashes it once per process."""
    manifest = _manifest(path)
    if manifest is None or not path.exists():
        return "incomplete"
    if manifest.samples != samples or manifest.format != _FORMAT or manifest.key != key:
        return "stale"
    state = path.stat()
    version = (path, manifest.sha256, state.st_size, state.st_mtime_ns)
    if version not in _checked:
        if _sha256(path) != manifest.sha256:
            return "damaged"
        _checked.add(version)
    return None


def _write(path: Path, write: Callable[[Path], Manifest]) -> None:
    """Write a file and then its manifest, each under a temporary name first: a file with a manifest is complete."""
    prefix = f".{path.stem}.writing-"
    for abandoned in path.parent.glob(f"{prefix}*"):
        # Left by a killed process: the lock is ours, no process is writing it.
        shutil.rmtree(abandoned, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=prefix) as folder:
        beton = Path(folder) / "out.beton"
        manifest = beton.with_suffix(".json")
        manifest.write_text(json.dumps(asdict(write(beton)), indent=1) + "\n")
        # Only once the new file is ready: another process may still be reading the old one.
        _manifest_path(path).unlink(missing_ok=True)
        for temporary, final in ((beton, path), (manifest, _manifest_path(path))):
            _flush(temporary)
            temporary.replace(final)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
