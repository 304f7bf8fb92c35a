"""Checks image files before they are packed: decodes each one and hashes it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from bench.data.ffcv.packing import Packing
from bench.data.sets.encoded import Listing, decoded, opened
from bench.errors import UserError

_TOLD_EVERY = 100


class Checked(NamedTuple):
    """Checksum of all files and labels, and the largest number of bytes that one image can take."""

    sources: str
    largest: int


def labels(listing: Listing, classes: int) -> None:
    """Raise a UserError for the first label that is not from 0 to ``classes`` - 1."""
    bad = ((listing.labels < 0) | (listing.labels >= classes)).nonzero()
    if len(bad):
        row = int(bad[0])
        label = int(listing.labels[row])
        raise UserError(f"{listing.path(row)} has label {label}, but labels run from 0 to {classes - 1}")


def images(listing: Listing, packing: Packing, progress: Callable[[int], None] = lambda _: None) -> Checked:
    """Decode every image, in as many threads as there are processors.

    Args:
        listing: the files.
        packing: limits the stored size of an image by its longest side.
        progress: called with the number of images checked.

    Raises:
        LoaderError: for the first image that cannot be decoded.
        UserError: for the first file that cannot be read.
    """
    digest, largest = hashlib.sha256(), 1

    def check(row: int) -> tuple[bytes, int]:
        path = listing.path(row)
        content = _content(path)
        with opened(path, content) as image:
            pixels = decoded(image, path)
        shrunk = 1.0 if packing.side is None else min(1.0, packing.side / max(pixels.shape[1:]))
        # One more pixel per side for rounding; a JPEG larger than its pixels is rare but possible.
        return hashlib.sha256(content).digest(), max(len(content), int(3 * _area(pixels.shape[1:], shrunk)) + 1024)

    with ThreadPoolExecutor() as threads:
        try:
            for row, (checksum, size) in enumerate(threads.map(check, range(len(listing)))):
                digest.update(_line(listing, row, checksum))
                largest = max(largest, size)
                if row % _TOLD_EVERY == 0:
                    progress(row)
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
    progress(len(listing))
    return Checked(digest.hexdigest(), largest)


def checksum(listing: Listing) -> str:
    """The checksum that ``images`` returns, without decoding; a UserError if a file cannot be read."""
    digest = hashlib.sha256()
    for row in range(len(listing)):
        digest.update(_line(listing, row, hashlib.sha256(_content(listing.path(row))).digest()))
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _line(listing: Listing, row: int, checksum: bytes) -> bytes:
    return f"{listing.names[row]} {int(listing.labels[row])} ".encode() + checksum


def _area(size: tuple[int, ...], shrunk: float) -> float:
    return (size[0] * shrunk + 1) * (size[1] * shrunk + 1)
