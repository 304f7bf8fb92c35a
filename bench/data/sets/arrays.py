"""A task's data as read: images and labels of the training and the test set."""

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
    """Images as one tensor, (N, *shape) uint8; files are decoded, see ``Encoded.tensor`` for the errors."""
    return images if isinstance(images, Tensor) else images.tensor(shape)


@dataclass(frozen=True)
class Arrays:
    """A data set with its authors' split, in memory or as files that are decoded later.

    Attributes:
        train_images: (N, C, H, W) uint8, contiguous, or N files.
        train_labels: (N,) int64.
        test_images: the same of the test set, M images.
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
        """Copy NumPy arrays of the same shapes; labels may have any integer dtype."""
        return cls(
            torch.from_numpy(train_images.copy()),
            torch.from_numpy(train_labels.astype(np.int64)),
            torch.from_numpy(test_images.copy()),
            torch.from_numpy(test_labels.astype(np.int64)),
        )
