"""Files with known checksums. No byte is used before it has been checked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from bench.errors import UserError


@dataclass(frozen=True)
class DataFile:
    """One file of a data set.

    Attributes:
        path: relative to the data folder, in torchvision's layout.
        md5: of the unpacked file, as pinned by torchvision; guards against damage and other versions.
        size: in bytes; None if unknown.
    """

    path: str
    md5: str
    size: int | None = None


class FileStatus(NamedTuple):
    """The result of checking a file."""

    path: str
    status: Literal["ok", "missing", "damaged"]
    detail: str


def _complaint(file: DataFile, content: bytes) -> str | None:
    if file.size is not None and len(content) < file.size:
        return f"truncated: {len(content)} bytes of {file.size}"
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return None if found == file.md5 else f"expected md5 {file.md5}, found {found}"


def check(root: Path, file: DataFile) -> FileStatus:
    """Check a file below ``root``."""
    try:
        complaint = _complaint(file, (root / file.path).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return FileStatus(file.path, "missing", "no such file")
    except OSError as error:
        return FileStatus(file.path, "damaged", f"cannot be read: {error.strerror}")
    return FileStatus(file.path, "ok", "") if complaint is None else FileStatus(file.path, "damaged", complaint)


def read_checked(root: Path, file: DataFile) -> bytes:
    """Read a file below ``root`` and check the bytes that were read.

    Raises:
        UserError: if the file is missing, truncated, or not the one expected.
    """
    path = root / file.path
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    complaint = _complaint(file, content)
    if complaint is not None:
        raise UserError(f"{path} is damaged ({complaint}); `bench data get` fetches it again")
    return content
