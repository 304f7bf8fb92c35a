"""Image files one by one, before anything is made of them: can they be decoded, and what are their checksums."""

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
    """Checksum of all files and labels, and the most bytes that one image may take."""

    sources: str
    largest: int


def labels(listing: Listing, classes: int) -> None:
    """Raise the UserError for the first label that is not from 0 to ``classes`` - 1."""
    bad = ((listing.labels < 0) | (listing.labels >= classes)).nonzero()
    if len(bad):
        row = int(bad[0])
        label = int(listing.labels[row])
        raise UserError(f"{listing.path(row)} has label {label}, but labels run from 0 to {classes - 1}")


def images(listing: Listing, packing: Packing, progress: Callable[[int], None] = lambda _: None) -> Checked:
    """Decode every image, in as many threads as there are processors.

    Args:
        listing: the files.
        packing: says by its longest side how large an image may be stored.
        progress: told how many have been checked.

    Raises:
        LoaderError: for the first that cannot be decoded.
        UserError: for the first that cannot be read.
    """
    digest, largest = hashlib.sha256(), 1

    def check(row: int) -> tuple[bytes, int]:
        path = listing.path(row)
        content = _content(path)
        with opened(path, content) as image:
            pixels = decoded(image, path)
        shrunk = 1.0 if packing.side is None else min(1.0, packing.side / max(pixels.shape[1:]))
        # One more pixel a side for rounding; a JPEG that is larger than its pixels is rare, but there are such.
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
    """The same checksum as that of ``images``, without decoding anything; a UserError if a file cannot be read."""
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
