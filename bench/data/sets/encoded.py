"""Images that stay files until they are needed: data sets that are folders of JPEG files."""

from __future__ import annotations

import hashlib
import io
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bench.errors import LoaderError, UserError

_WORKING_SHARE = 0.5  # largest share of the free memory for decoded images


@dataclass(frozen=True)
class Listing:
    """The files of a training or test set, in a fixed order, with their labels.

    Attributes:
        root: folder that the names are relative to.
        names: (N,) paths.
        labels: (N,) int64.
    """

    root: Path
    names: tuple[str, ...]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.names)

    def path(self, row: int) -> Path:
        """The path of a file."""
        return self.root / self.names[row]

    @cached_property
    def key(self) -> str:
        """A hash of all names, sizes and labels, 16 hexadecimal digits; identifies the set of files."""
        digest = hashlib.sha256(self.labels.numpy().tobytes())
        for row, name in enumerate(self.names):
            digest.update(f"{name}\0{self.path(row).stat().st_size}\n".encode())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Encoded:
    """Images of a listing, or some of them, in place of a tensor.

    Attributes:
        listing: all files.
        rows: (N,) int64, which of the files.
    """

    listing: Listing
    rows: NDArray[np.int64]

    @classmethod
    def all(cls, listing: Listing) -> Encoded:
        """Every image of a listing."""
        return cls(listing, np.arange(len(listing)))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, positions: Tensor) -> Encoded:
        """The images at some positions, (M,) int64."""
        return Encoded(self.listing, self.rows[positions.numpy()])

    def path(self, position: int) -> Path:
        """The file of the image at a position."""
        return self.listing.path(int(self.rows[position]))

    def tensor(self, shape: tuple[int, int, int], loader: str = "memory") -> Tensor:
        """Decode all images, (N, *shape) uint8.

        Args:
            shape: of each image.
            loader: name of the loader, for the error.

        Raises:
            UserError: if an image has another size, or they do not fit into memory.
            LoaderError: if one cannot be decoded.
        """
        needed, there = len(self) * int(np.prod(shape)), int(_free_bytes() * _WORKING_SHARE)
        if needed > there:
            raise UserError(
                f"loader {loader!r} would need {needed / 2**30:.1f} GiB for {len(self)} images of "
                f"{self.listing.root}, more than half of the free memory: use loader 'ffcv' or 'torch'"
            )
        images = torch.empty(len(self), *shape, dtype=torch.uint8)
        for position in range(len(self)):
            with opened(self.path(position)) as image:
                pixels = decoded(image, self.path(position))
            if pixels.shape != shape:
                raise UserError(
                    f"{self.path(position)} is {tuple(pixels.shape)}, but loader {loader!r} takes images of one size, "
                    f"{shape}: use loader 'ffcv' or 'torch'"
                )
            images[position] = pixels
        return images


def opened(path: Path, content: bytes | None = None) -> Image.Image:
    """Open an image file and read its header: its size is then known, its pixels are not.

    Args:
        path: of the file.
        content: of the file, if already read.

    Raises:
        LoaderError: if it is not an image, or cannot be read.
    """
    try:
        return Image.open(path if content is None else io.BytesIO(content))
    except Exception as error:
        raise _undecodable(path, error) from error


def decoded(image: Image.Image, path: Path, by: int = 1) -> Tensor:
    """Decode an opened file, (3, H, W) uint8, at one ``by``-th of its size if it is a JPEG file.

    Raises:
        LoaderError: if it is damaged.
    """
    try:
        if by > 1:
            image.draft("RGB", (image.width // by, image.height // by))
        pixels = np.asarray(image.convert("RGB"))
    except Exception as error:
        raise _undecodable(path, error) from error
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def _undecodable(path: Path, error: Exception) -> LoaderError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return LoaderError(f"{path} cannot be decoded: {reason or type(error).__name__}; replace the file")


def _free_bytes() -> int:
    """Bytes that Linux can provide without swapping; on other systems ``sys.maxsize``, which refuses nothing."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return sys.maxsize
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("MemAvailable:"))
