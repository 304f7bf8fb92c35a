import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.data.sets import idx
from bench.data.sets.files import DataFile
from bench.errors import UserError


def _encode(array: NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_parse_gives_back_the_array() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(idx.parse(_encode(array), "x"), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x is not an idx file"),
        (b"\x1f\x8b\x08\x00", "x is not an idx file"),
        (bytes([0, 0, 13, 1, 0, 0, 0, 0]), "x is not an idx file of unsigned bytes"),
        (bytes([0, 0, 8, 3, 0, 0]), "x is truncated: 6 bytes of at least 16"),
        (_encode(np.zeros(9, np.uint8))[:-2], "x is truncated: 15 bytes of 17"),
        (_encode(np.zeros(9, np.uint8)) + b"!", "x is too long: 18 bytes of 17"),
    ],
)
def test_parse_refuses(content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        idx.parse(content, "x")


def test_read(tmp_path: Path) -> None:
    contents = [
        np.arange(40, dtype=np.uint8).reshape(10, 2, 2),
        np.arange(10, dtype=np.uint8),
        np.arange(8, dtype=np.uint8).reshape(2, 2, 2),
        np.array([7, 9], dtype=np.uint8),
    ]
    files = []
    for number, array in enumerate(contents):
        content = _encode(array)
        (tmp_path / str(number)).write_bytes(content)
        files.append(DataFile(str(number), hashlib.md5(content, usedforsecurity=False).hexdigest(), len(content)))
    arrays = idx.read(tmp_path, files)
    assert arrays.train_images.shape == (10, 1, 2, 2)
    assert arrays.train_images.flatten().tolist() == list(range(40))
    assert arrays.train_labels.tolist() == list(range(10))
    assert arrays.test_images.flatten().tolist() == list(range(8))
    assert arrays.test_labels.tolist() == [7, 9]

    (tmp_path / "0").write_bytes(_encode(contents[0])[:30])
    with pytest.raises(UserError, match="truncated: 30 bytes of 56"):
        idx.read(tmp_path, files)
