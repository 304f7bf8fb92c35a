"""Reads the idx format of MNIST and FashionMNIST."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data.sets.arrays import Arrays
from bench.data.sets.files import DataFile, read_checked
from bench.errors import UserError

_UINT8 = 0x08


def parse(content: bytes, name: str) -> NDArray[np.uint8]:
    """Parse an idx file of unsigned bytes: two zero bytes, type, rank, big-endian sizes, data.

    Args:
        content: the whole file.
        name: of the file, for errors.

    Raises:
        UserError: if the header is not one of unsigned bytes, or the data has another length than the header says.
    """
    if len(content) < 4 or content[:3] != bytes([0, 0, _UINT8]):
        raise UserError(f"{name} is not an idx file of unsigned bytes")
    rank = content[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise UserError(f"{name} is truncated: {len(content)} bytes of at least {start}")
    shape = struct.unpack(f">{rank}I", content[4:start])
    expected = start + int(np.prod(shape, dtype=np.int64))
    if len(content) != expected:
        problem = "truncated" if len(content) < expected else "too long"
        raise UserError(f"{name} is {problem}: {len(content)} bytes of {expected}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read(root: Path, files: Sequence[DataFile]) -> Arrays:
    """Read train images, train labels, test images and test labels: four files below ``root``, in this order.

    Raises:
        UserError: if a file is missing or damaged.
    """
    train_images, train_labels, test_images, test_labels = (
        parse(read_checked(root, file), str(root / file.path)) for file in files
    )
    return Arrays.from_numpy(train_images[:, None], train_labels, test_images[:, None], test_labels)
