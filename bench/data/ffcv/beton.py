"""Splits as FFCV files in the user's cache: written once, checked before every use, rebuilt when stale or damaged."""

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

_FORMAT = 1  # counts changes to how files are written, so that old ones are not used

Report = Callable[[str, int, int], None]
"""Told what is being done, how far it is, and how far it will go."""

_checked: set[tuple[Path, str, int, int]] = set()


@dataclass(frozen=True)
class Manifest:
    """What stands beside a file, and says that it was written to its end.

    Attributes:
        sha256: of the whole file.
        samples: how many it holds.
        classes: how many of each class, by label from 0.
        sources: sha256 of what went in: of images and labels, or of the checksums of all files and their labels.
        key: tells one set of sources from another without reading them.
        packing: how images are stored; empty where they come from memory.
        format: how it was written.
    """

    sha256: str
    samples: int
    classes: tuple[int, ...]
    sources: str
    key: str
    packing: str = ""
    format: int = _FORMAT


def content_key(split: Split) -> str:
    """A hash of a split's images and labels: 16 hexadecimal digits."""
    return _content_hash(split)[:16]


def _content_hash(split: Split) -> str:
    assert isinstance(split.images, Tensor)  # noqa: S101 -- files have a listing's key
    digest = hashlib.sha256(repr((_FORMAT, tuple(split.images.shape))).encode())
    digest.update(split.images.numpy().data)
    digest.update(split.labels.numpy().data)
    return digest.hexdigest()


def validate(task: Task, split: Split) -> None:
    """Check all that FFCV's writer would otherwise hang on or write wrongly.

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
    """Where files are kept: ``betons`` in a folder, or in the user's cache."""
    return (cache_root() if cache_dir is None else cache_dir) / "betons"


def ensure_beton(task: Task, split: Split, cache_dir: Path | None = None, report: Report | None = None) -> Path:
    """The FFCV file of a split in memory: the one in the cache if it is intact, else a new one.

    Its name holds a hash of the content, so that another data set or another ``train_limit`` is another file.

    Args:
        task: names the file and says what samples must look like.
        split: at least one sample, on the CPU.
        cache_dir: holds the folder ``betons``; None is the user's cache.
        report: told of the progress.

    Raises:
        UserError: if a sample is not what the task says, or the cache cannot be written.
        LoaderError: if FFCV fails to write.
    """
    validate(task, split)
    whole = _content_hash(split)
    path = folder_of(cache_dir) / f"{task.name}-{split.source}-{whole[:16]}.beton"

    def write(out: Path) -> Manifest:
        assert isinstance(split.images, Tensor)  # noqa: S101 -- as validated
        counted = _counted(report, f"writing {path.name}", len(split))
        write_pixels(split.images.numpy(), split.labels.numpy(), out, counted)
        return Manifest(_sha256(out), len(split), _histogram(split.labels), whole, whole[:16])

    return _ensure(path, len(split), whole[:16], write)


def ensure_packed(
    task: Task,
    listing: Listing,
    source: Source,
    packing: Packing,
    cache_dir: Path | None = None,
    report: Report | None = None,
) -> Path:
    """The FFCV file of a folder of images: the one in the cache if it is intact and of these files, else a new one.

    Every image is decoded and its label checked before the first is written.

    Args:
        task: names the file and says how many classes there are.
        listing: all files of the training or test set.
        source: which of the two.
        packing: how images are stored.
        cache_dir: holds the folder ``betons``; None is the user's cache.
        report: told of the progress.

    Raises:
        UserError: if a label is out of range, or the cache cannot be written.
        LoaderError: if an image cannot be decoded, or FFCV fails to write.
    """
    path = packed_path(task, source, packing, cache_dir)
    sample_check.labels(listing, task.classes)

    def write(out: Path) -> Manifest:
        name = f"checking {task.name} {source}"
        found = sample_check.images(listing, packing, _counted(report, name, len(listing)))
        paths = [str(listing.path(row).absolute()) for row in range(len(listing))]
        counted = _counted(report, f"writing {path.name}", len(listing))
        write_files(paths, listing.labels.tolist(), packing, page_bytes(found.largest), out, counted)
        classes = _histogram(listing.labels)
        return Manifest(_sha256(out), len(listing), classes, found.sources, listing.key, str(packing))

    return _ensure(path, len(listing), listing.key, write)


def packed_path(task: Task, source: Source, packing: Packing, cache_dir: Path | None = None) -> Path:
    """Where the file of a folder of images is, or would be."""
    slug = str(packing).replace(",", "-").replace("=", "")
    return folder_of(cache_dir) / f"{task.name}-{source}-{slug}.beton"


def verify(task: Task, data: Split | Encoded, path: Path) -> FileStatus:
    """The state of a packed file: its bytes, its tables, and whether its sources are what they were.

    Args:
        task: whose it is.
        data: what it was made of: a split in memory, or all files of a training or test set.
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


def _counted(report: Report | None, what: str, total: int) -> Callable[[int], None]:
    return (lambda _: None) if report is None else lambda done: report(what, done, total)


def _histogram(labels: Tensor) -> tuple[int, ...]:
    return tuple(torch.bincount(labels).tolist())


def _ensure(path: Path, samples: int, key: str, write: Callable[[Path], Manifest]) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            complaint = _complaint(path, samples, key)
            if complaint is not None:
                if path.exists():
                    print(f"note: {path} is {complaint}; it is written anew", file=sys.stderr)
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
    """Why the file is not the one wanted; hashes it once per process."""
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
    """Write the file and then its manifest, each under a temporary name first: a file with a manifest is whole."""
    prefix = f".{path.stem}.writing-"
    for abandoned in path.parent.glob(f"{prefix}*"):
        # Left by a process that was killed: whoever works holds the lock.
        shutil.rmtree(abandoned, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=prefix) as folder:
        beton = Path(folder) / "out.beton"
        manifest = beton.with_suffix(".json")
        manifest.write_text(json.dumps(asdict(write(beton)), indent=1) + "\n")
        # Not before the new one is ready: an old file may still serve whoever else reads it.
        _manifest_path(path).unlink(missing_ok=True)
        for temporary, final in ((beton, path), (manifest, _manifest_path(path))):
            _flush(temporary)
            temporary.replace(final)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
