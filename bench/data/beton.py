"""Splits as FFCV files in the user's cache: written once, checked before every use, rebuilt when damaged."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from filelock import FileLock

from bench.data.beton_writer import PAGE_BYTES, run_writer
from bench.data.cache import cache_root
from bench.data.splits import Split
from bench.data.tasks import Task
from bench.errors import UserError

_FORMAT = 1  # counts changes to how files are written, so that old ones are not used

_checked: set[tuple[Path, str, int, int]] = set()


@dataclass(frozen=True)
class Manifest:
    """What stands beside a file, and says that it was written to its end.

    Attributes:
        sha256: of the whole file.
        samples: how many it holds.
        format: how it was written.
    """

    sha256: str
    samples: int
    format: int = _FORMAT


def content_key(split: Split) -> str:
    """A hash of a split's images and labels: 16 hexadecimal digits."""
    digest = hashlib.sha256(repr((_FORMAT, tuple(split.images.shape))).encode())
    digest.update(split.images.numpy().data)
    digest.update(split.labels.numpy().data)
    return digest.hexdigest()[:16]


def validate(task: Task, split: Split) -> None:
    """Check all that FFCV's writer would otherwise hang on or write wrongly.

    Raises:
        UserError: if a shape, type or label is not what the task says.
    """
    images, labels = split.images, split.labels
    expected = (len(labels), *task.shape)
    if images.dtype != torch.uint8 or tuple(images.shape) != expected:
        raise UserError(f"{task.name}: images are {images.dtype} {tuple(images.shape)}, expected uint8 {expected}")
    if labels.dtype != torch.int64 or labels.ndim != 1:
        raise UserError(f"{task.name}: labels are {labels.dtype} {tuple(labels.shape)}, expected int64 (N,)")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= task.classes:
        raise UserError(f"{task.name}: labels run from {lowest} to {highest}, expected 0 to {task.classes - 1}")
    if images[0].numel() > PAGE_BYTES:
        raise UserError(f"{task.name}: an image has {images[0].numel()} bytes, loader 'ffcv' takes up to {PAGE_BYTES}")


def ensure_beton(task: Task, split: Split, cache_dir: Path | None = None) -> Path:
    """The FFCV file of a split: the one in the cache if it is intact, else a new one.

    Its name holds a hash of the content, so that another data set or another ``train_limit`` is another file.

    Args:
        task: names the file and says what samples must look like.
        split: at least one sample, on the CPU.
        cache_dir: holds the folder ``betons``; None is the user's cache.

    Raises:
        UserError: if a sample is not what the task says, or the cache cannot be written.
        LoaderError: if FFCV fails to write.
    """
    validate(task, split)
    folder = (cache_root() if cache_dir is None else cache_dir) / "betons"
    path = folder / f"{task.name}-{split.source}-{content_key(split)}.beton"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not _intact(path, len(split)):
                _write(path, split)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def _manifest_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _intact(path: Path, samples: int) -> bool:
    """Whether the file is the one that its manifest describes; hashes it once per process."""
    try:
        manifest = Manifest(**json.loads(_manifest_path(path).read_text()))
        state = path.stat()
    except (FileNotFoundError, ValueError, TypeError):
        return False
    if manifest.samples != samples or manifest.format != _FORMAT:
        return False
    version = (path, manifest.sha256, state.st_size, state.st_mtime_ns)
    if version not in _checked:
        if _sha256(path) != manifest.sha256:
            return False
        _checked.add(version)
    return True


def _write(path: Path, split: Split) -> None:
    """Write the file and then its manifest, each under a temporary name first: a file with a manifest is whole."""
    prefix = f".{path.stem}.writing-"
    for abandoned in path.parent.glob(f"{prefix}*"):
        # Left by a process that was killed: whoever works holds the lock.
        shutil.rmtree(abandoned, ignore_errors=True)
    _manifest_path(path).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=prefix) as folder:
        beton = Path(folder) / "out.beton"
        run_writer(split.images.numpy(), split.labels.numpy(), beton)
        manifest = beton.with_suffix(".json")
        manifest.write_text(json.dumps(asdict(Manifest(_sha256(beton), len(split))), indent=1) + "\n")
        for temporary, final in ((beton, path), (manifest, _manifest_path(path))):
            _flush(temporary)
            temporary.replace(final)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
