import hashlib
from pathlib import Path

import pytest

from bench.data.sets.files import DataFile, FileStatus, check, read_checked
from bench.errors import UserError

CONTENT = b"twelve bytes"
FILE = DataFile("folder/name", hashlib.md5(CONTENT, usedforsecurity=False).hexdigest(), 12)


def _put(root: Path, content: bytes) -> None:
    path = root / FILE.path
    path.parent.mkdir()
    path.write_bytes(content)


def test_intact(tmp_path: Path) -> None:
    _put(tmp_path, CONTENT)
    assert check(tmp_path, FILE) == FileStatus("folder/name", "ok", "")
    assert read_checked(tmp_path, FILE) == CONTENT


def test_missing(tmp_path: Path) -> None:
    assert check(tmp_path, FILE) == FileStatus("folder/name", "missing", "no such file")
    with pytest.raises(UserError, match=r"folder/name cannot be read: No such file"):
        read_checked(tmp_path, FILE)


def test_truncated(tmp_path: Path) -> None:
    _put(tmp_path, CONTENT[:5])
    assert check(tmp_path, FILE) == FileStatus("folder/name", "damaged", "truncated: 5 bytes of 12")
    with pytest.raises(UserError, match=r"folder/name is damaged \(truncated: 5 bytes of 12\)"):
        read_checked(tmp_path, FILE)


def test_changed_names_both_sums(tmp_path: Path) -> None:
    _put(tmp_path, b"Twelve bytes")
    found = hashlib.md5(b"Twelve bytes", usedforsecurity=False).hexdigest()
    assert check(tmp_path, FILE).detail == f"expected md5 {FILE.md5}, found {found}"
    with pytest.raises(UserError, match=f"expected md5 {FILE.md5}, found {found}"):
        read_checked(tmp_path, FILE)
