"""Finds and downloads the files of a task.

Files are looked for in ``--data-dir`` only, if given; else in ``$BENCH_DATA``, unless that folder has none of them;
else in ``data`` in the user's cache. Only the cache is filled automatically; in a folder chosen by the user, missing
files are an error until ``bench data get`` downloads them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from bench.data.sets import folders
from bench.data.sets.fetchers import Fetcher, FetchError
from bench.data.sets.files import DataFile, FileStatus, check
from bench.data.sets.folders import Folder
from bench.errors import UserError
from bench.inputs import cache_root


class Obtainable(Protocol):
    """The attributes of a task that this module needs. A task without files is always available."""

    @property
    def name(self) -> str: ...  # noqa: D102 -- as of Task

    @property
    def files(self) -> tuple[DataFile, ...]: ...  # noqa: D102 -- as of Task

    @property
    def fetchers(self) -> tuple[Fetcher, ...]: ...  # noqa: D102 -- as of Task


def _folder(task: Obtainable) -> Folder | None:
    # As below: a task of another project may lack the attribute.
    return getattr(task, "folder", None)


def is_bundled(task: Obtainable) -> bool:
    """Whether a task needs no files."""
    return not _files(task) and _folder(task) is None


def _root(task: Obtainable, data_dir: Path | None) -> tuple[Path, str | None]:
    """The data folder of a task and who chose it, None for the cache."""
    if data_dir is not None:
        return data_dir, "--data-dir"
    chosen = os.environ.get("BENCH_DATA")
    if chosen:
        root = Path(chosen).expanduser()
        if not root.is_dir() or any((root / path).exists() for path in _paths(task)):
            return root, "BENCH_DATA"
    return cache_root() / "data", None


def _files(task: Obtainable) -> tuple[DataFile, ...]:
    # A task of another project may lack `files` and `fetchers`.
    return getattr(task, "files", ())


def _fetchers(task: Obtainable) -> tuple[Fetcher, ...]:
    return getattr(task, "fetchers", ())


def _paths(task: Obtainable) -> list[str]:
    """All files or folders that a task needs, relative to the data folder."""
    folder = _folder(task)
    of_folder = [] if folder is None else [path for path, _ in folder.parts.values()]
    return [*(file.path for file in _files(task)), *of_folder]


def _missing(root: Path, task: Obtainable) -> list[str]:
    return [path for path in _paths(task) if not (root / path).exists()]


def find(task: Obtainable, data_dir: Path | None = None) -> Path | None:
    """The data folder if all files of the task are in it, else None. Downloads and checks nothing."""
    root, _ = _root(task, data_dir)
    return None if _missing(root, task) else root


def verify(task: Obtainable, data_dir: Path | None = None) -> list[FileStatus]:
    """Check every file of the task, in the task's order; ``path`` is relative to the data folder."""
    root, _ = _root(task, data_dir)
    folder = _folder(task)
    of_folder = [] if folder is None else folders.verify(root, folder)
    return [*(check(root, file) for file in _files(task)), *of_folder]


def locate(task: Obtainable, data_dir: Path | None = None) -> Path:
    """The data folder with all files of the task; they are checked when they are read.

    Raises:
        UserError: if files are missing in a folder chosen by the user, or cannot be downloaded into the cache.
    """
    root, chooser = _root(task, data_dir)
    missing = _missing(root, task)
    if not missing:
        return root
    folder = _folder(task)
    if folder is not None:
        raise UserError(
            f"{chooser or 'the data folder'} is {root}, which lacks {missing[0]} of {task.name}: {folder.advice}"
        )
    if chooser is not None:
        raise UserError(
            f"{chooser} is {root}, which lacks {missing[0]} of {task.name}: "
            f"put the file there, or run `bench data get {task.name}` to fetch it"
        )
    return fetch(task)


def fetch(task: Obtainable, data_dir: Path | None = None) -> Path:
    """Download missing or damaged files into the data folder, trying the task's fetchers in turn.

    Files are downloaded to a temporary folder, checked there and then renamed, so that the data folder never has a
    partial one. Concurrent processes that fetch the same task wait for the first, and then find all files there.

    Returns:
        The data folder.

    Raises:
        UserError: if no fetcher gave all files intact, or the folder cannot be written.
    """
    root, _ = _root(task, data_dir)
    if not _files(task):
        return root if _folder(task) is None else locate(task, data_dir)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{task.name}.lock"):
            _fetch_locked(task, root)
    except OSError as error:
        raise UserError(f"{task.name} cannot be written to {root}: {error.strerror or error}") from error
    return root


def _fetch_locked(task: Obtainable, root: Path) -> None:
    if all(status.status == "ok" for status in verify(task, root)):
        return
    prefix = f".{task.name}.fetch-"
    for abandoned in root.glob(f"{prefix}*"):
        # Left by a killed process: the lock is ours, no process is using it.
        shutil.rmtree(abandoned, ignore_errors=True)
    tried = []
    for fetcher in _fetchers(task):
        with tempfile.TemporaryDirectory(dir=root, prefix=prefix) as folder:
            try:
                fetcher(Path(folder))
            except FetchError as error:
                tried.append(f"{fetcher.name}: {error}")
                continue
            bad = [status for status in (check(Path(folder), file) for file in task.files) if status.status != "ok"]
            if not bad:
                for file in task.files:
                    (root / file.path).parent.mkdir(parents=True, exist_ok=True)
                    (Path(folder) / file.path).replace(root / file.path)
                return
            tried.append(f"{fetcher.name}: {bad[0].path} {bad[0].status} ({bad[0].detail})")
    lacking = next(status for status in verify(task, root) if status.status != "ok")
    raise UserError(
        f"{task.name} needs {lacking.path}, which is {lacking.status} in {root} and cannot be fetched "
        f"({'; '.join(tried) or 'nothing to try'}): connect to a network and run `bench data get {task.name}`, "
        "or set BENCH_DATA to a folder that holds torchvision's files"
    )
