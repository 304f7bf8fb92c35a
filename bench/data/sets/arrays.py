"""What reading a task gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.sets.encoded import Encoded

Images = Tensor | Encoded
"""(N, C, H, W) uint8, contiguous, or N files."""


def pixels(images: Images, shape: tuple[int, int, int]) -> Tensor:
    """Images as one tensor, (N, *shape) uint8; see ``Encoded.tensor`` for what may go wrong with files."""
    return images if isinstance(images, Tensor) else images.tensor(shape)


@dataclass(frozen=True)
class Arrays:
    """A data set, as its authors split it: in memory, or as files that are read later.

    Attributes:
        train_images: (N, C, H, W) uint8, contiguous, or N files.
        train_labels: (N,) int64.
        test_images: likewise, M.
        test_labels: (M,) int64.
    """

    train_images: Images
    train_labels: Tensor
    test_images: Images
    test_labels: Tensor

    @classmethod
    def from_numpy(
        cls,
        train_images: NDArray[np.uint8],
        train_labels: NDArray[np.integer],
        test_images: NDArray[np.uint8],
        test_labels: NDArray[np.integer],
    ) -> Arrays:
        """Copies of NumPy arrays of the same shapes; labels may be of any integer type."""
        return cls(
            torch.from_numpy(train_images.copy()),
            torch.from_numpy(train_labels.astype(np.int64)),
            torch.from_numpy(test_images.copy()),
            torch.from_numpy(test_labels.astype(np.int64)),
        )
