"""FashionMNIST from Debian's package ``dataset-fashion-mnist``: for machines with a mirror but no internet."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from bench.data.sets.fetchers import FetchError

_PACKAGE = "dataset-fashion-mnist"
_FOLDER = Path("usr/share/datasets/fashion-mnist")
_TIMEOUT_S = 600


def _unzip_all(source: Path, destination: Path) -> None:
    """Unpack every ``*-ubyte.gz`` of the package's folder into torchvision's layout."""
    archives = sorted(source.glob("*-ubyte.gz"))
    if not archives:
        raise FetchError(f"{source} holds no *-ubyte.gz files")
    folder = destination / "FashionMNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        try:
            with gzip.open(archive) as packed, (folder / archive.stem).open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
        except (OSError, EOFError, zlib.error) as error:
            raise FetchError(f"{archive} cannot be unpacked: {error}") from error


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except FileNotFoundError as error:
        raise FetchError(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"`{' '.join(command)}` took longer than {_TIMEOUT_S} seconds") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()
        raise FetchError(f"`{' '.join(command)}` failed: {said[-1] if said else error.returncode}") from error


def _download(folder: Path) -> None:
    command = ["apt-get", "download", _PACKAGE]
    try:
        _run(command, folder)
    except FetchError:
        # A fresh container has no package lists; only root may download them.
        if os.geteuid() != 0:
            raise
        _run(["apt-get", "update"], folder)
        _run(command, folder)


def unpack(package: Path, destination: Path) -> None:
    """Unpack the data set from a ``.deb`` file without installing it.

    Raises:
        FetchError: if ``dpkg-deb`` is missing, or the file is not that package.
    """
    with tempfile.TemporaryDirectory(dir=package.parent) as folder:
        _run(["dpkg-deb", "-x", str(package), folder], package.parent)
        _unzip_all(Path(folder) / _FOLDER, destination)


@dataclass(frozen=True)
class DebianInstalled:
    """Fetches the files from the installed package.

    Attributes:
        root: of the file system.
    """

    root: Path = Path("/")
    name: str = f"the installed package {_PACKAGE}"

    def __call__(self, destination: Path) -> None:
        """Unpack into ``destination``."""
        if not (self.root / _FOLDER).is_dir():
            raise FetchError("not installed")
        _unzip_all(self.root / _FOLDER, destination)


@dataclass(frozen=True)
class DebianPackage:
    """Downloads the package with ``apt-get`` and unpacks it; does not need root."""

    name: str = f"Debian's package {_PACKAGE}"

    def __call__(self, destination: Path) -> None:
        """Download and unpack into ``destination``."""
        with tempfile.TemporaryDirectory() as folder:
            _download(Path(folder))
            packages = list(Path(folder).glob("*.deb"))
            if len(packages) != 1:
                raise FetchError("`apt-get download` left no package")
            unpack(packages[0], destination)
