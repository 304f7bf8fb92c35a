"""How images of a folder are stored in an FFCV file."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.data.sets.encoded import decoded, opened
from bench.errors import UserError, unknown
from bench.seeds import derive

_QUALITY = 95


@dataclass(frozen=True)
class Packing:
    """Storage options, written as ``jpeg``, ``raw``, or ``jpeg,share=0.5,quality=90,side=400``.

    Attributes:
        share: share of images, chosen by number, that are stored as JPEG; the others are stored as pixels, which take
            more space and need no decoding.
        quality: re-encode every JPEG with this, from 1 to 100; None keeps the bytes of a JPEG file whose size does not
            change, and uses 95 for others.
        side: shrink images whose longer side exceeds this; None keeps their size.
    """

    share: float = 1.0
    quality: int | None = None
    side: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UserError(f"share must be from 0 to 1, got {self.share}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UserError(f"quality must be from 1 to 100, got {self.quality}")
        if self.side is not None and self.side < 1:
            raise UserError(f"side must be at least 1, got {self.side}")

    @classmethod
    def parse(cls, text: str) -> Packing:
        """Parse the text form.

        Raises:
            UserError: if it is not valid.

        >>> Packing.parse("jpeg,quality=90")
        Packing(share=1.0, quality=90, side=None)
        """
        kind, *options = [part.strip() for part in text.split(",")]
        if kind not in ("jpeg", "raw"):
            raise unknown("packing", kind, ("jpeg", "raw"))
        found: dict[str, Any] = {"share": 0.0} if kind == "raw" else {}
        names = [option.name for option in fields(cls) if kind == "jpeg" or option.name == "side"]
        for option in options:
            name, _, value = option.partition("=")
            if name not in names:
                raise unknown(f"option of packing {kind!r}", name, names)
            try:
                found[name] = float(value) if name == "share" else int(value)
            except ValueError:
                raise UserError(f"packing {text!r}: {name} must be a number, got {value!r}") from None
        return cls(**found)

    def __str__(self) -> str:
        if self.share == 0:
            return "raw" if self.side is None else f"raw,side={self.side}"
        given = {"share": self.share if self.share < 1 else None, "quality": self.quality, "side": self.side}
        return ",".join(["jpeg", *(f"{name}={value}" for name, value in given.items() if value is not None)])

    def as_jpeg(self, row: int) -> bool:
        """Whether an image is stored as JPEG: decided by its number alone, so that files are reproducible."""
        return self.share > 0 and derive(0, "packing", row) < self.share * 2**63

    def stored(self, path: Path, row: int) -> tuple[bool, int, int, NDArray[np.uint8]]:
        """The stored form of an image: whether it is a JPEG, height, width, and the bytes.

        Raises:
            LoaderError: if the image cannot be decoded.
        """
        content = path.read_bytes()
        with opened(path, content) as image:
            resized = self.side is not None and max(image.size) > self.side
            own = image.format == "JPEG" and image.mode in ("RGB", "L") and self.quality is None and not resized
            pixels = Image.fromarray(decoded(image, path).permute(1, 2, 0).numpy())
        if resized:
            pixels = pixels.resize(self._smaller(pixels.size), Image.Resampling.BOX)
        width, height = pixels.size
        if not self.as_jpeg(row):
            return False, height, width, np.asarray(pixels).reshape(-1)
        if not own:
            buffer = io.BytesIO()
            pixels.save(buffer, "JPEG", quality=self.quality or _QUALITY)
            content = buffer.getvalue()
        return True, height, width, np.frombuffer(content, np.uint8)

    def _smaller(self, size: tuple[int, int]) -> tuple[int, int]:
        ratio = (self.side or 1) / max(size)
        return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def page_bytes(largest: int) -> int:
    """Page size of an FFCV file: the smallest power of two from 8 MiB on that holds the largest image."""
    return int(max(1 << 23, 1 << (largest - 1).bit_length()))
