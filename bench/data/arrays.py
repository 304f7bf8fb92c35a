"""What reading a task gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Arrays:
    """A data set in memory, as its authors split it.

    Attributes:
        train_images: (N, C, H, W) uint8, contiguous.
        train_labels: (N,) int64.
        test_images: (M, C, H, W) uint8, contiguous.
        test_labels: (M,) int64.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
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
