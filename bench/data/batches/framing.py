"""The part of an image that is used and its size: random resized crops for training, the centre for evaluation.

Boxes depend only on drawn numbers and on an image's own size, and one function resamples every box, so that all loaders
give the same pixels for the same stored pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

RANDOM = "resized-crop"
AREA = (0.08, 1.0)
"""Range of a random box's share of the image's area, and below, of width over height (Szegedy et al. 2015)."""
RATIO = (3 / 4, 4 / 3)
TRIES = 10
REDUCTIONS = (8, 4, 2, 1)
"""Fractions of its size at which a JPEG file can be decoded."""

Box = tuple[int, int, int, int]
"""Top, left, height, width, in pixels of the stored image."""


def draw(shape: torch.Size | Sequence[int], generator: torch.Generator) -> Tensor:
    """Draw numbers for a batch's random boxes: (B, 2 * TRIES + 2) float64 in [0, 1): areas, ratios, row, column."""
    return torch.rand(shape[0], 2 * TRIES + 2, dtype=torch.float64, generator=generator)


def random_boxes(numbers: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Boxes of random area and aspect ratio, as torchvision's ``RandomResizedCrop`` chooses them.

    Takes the first of ten drawn boxes that fits into the image; if none does, the largest central one whose ratio is
    within ``RATIO``.

    Args:
        numbers: (B, 2 * TRIES + 2), see ``draw``.
        sizes: (B, 2), height and width of the images.

    Returns:
        (B, 4): top, left, height, width.
    """
    height, width = sizes[:, :1].astype(np.float64), sizes[:, 1:].astype(np.float64)
    areas = height * width * (AREA[0] + (AREA[1] - AREA[0]) * numbers[:, :TRIES])
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    ratios = np.exp(low + (high - low) * numbers[:, TRIES : 2 * TRIES])
    widths, heights = np.rint(np.sqrt(areas * ratios)), np.rint(np.sqrt(areas / ratios))
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    rows, first = np.arange(len(sizes)), fits.argmax(axis=1)
    box_height, box_width = heights[rows, first], widths[rows, first]
    none = ~fits.any(axis=1)
    whole_height, whole_width = height[:, 0], width[:, 0]
    box_height = np.where(none, np.minimum(whole_height, np.rint(whole_width / RATIO[0])), box_height)
    box_width = np.where(none, np.minimum(whole_width, np.rint(whole_height * RATIO[1])), box_width)
    top = np.where(none, (whole_height - box_height) // 2, numbers[:, -2] * (whole_height - box_height + 1) // 1)
    left = np.where(none, (whole_width - box_width) // 2, numbers[:, -1] * (whole_width - box_width + 1) // 1)
    return np.stack([top, left, box_height, box_width], axis=1).astype(np.int64)


def central_boxes(sizes: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Central squares with ``share`` of the shorter side: (B, 2) sizes -> (B, 4) boxes."""
    side = np.maximum(1, np.rint(sizes.min(axis=1) * share)).astype(np.int64)
    corner = (sizes - side[:, None]) // 2
    return np.concatenate([corner, side[:, None], side[:, None]], axis=1)


def whole_boxes(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Boxes of whole images: (B, 2) sizes -> (B, 4) boxes."""
    return np.concatenate([np.zeros_like(sizes), sizes], axis=1)


def reduction(box: Box, side: tuple[int, int]) -> int:
    """The factor by which decoding may shrink an image so that its box still has at least ``side`` pixels."""
    return next(by for by in REDUCTIONS if by == 1 or (box[2] >= by * side[0] and box[3] >= by * side[1]))


def reduced(box: Box, by: int, size: tuple[int, int]) -> Box:
    """The box in an image decoded at one ``by``-th of its size, whose own size is now ``size``."""
    if by == 1:
        return box
    top, left = box[0] // by, box[1] // by
    return top, left, min(box[2] // by, size[0] - top), min(box[3] // by, size[1] - left)


def resample(image: Tensor, box: Sequence[int], side: tuple[int, int]) -> Tensor:
    """Resample a box of an image: bilinear, with antialiasing where it shrinks.

    Args:
        image: (C, H, W) uint8 on the CPU, of any strides.
        box: within the image.
        side: target height and width.

    Returns:
        (C, *side) uint8.
    """
    top, left, height, width = box
    part = image[:, top : top + height, left : left + width]
    if (height, width) == side:
        return part
    return F.interpolate(part[None], size=side, mode="bilinear", antialias=True)[0]


def same_size(images: Tensor, numbers: Tensor) -> Tensor:
    """Resample random boxes of a batch (B, C, H, W) back to the size of the whole image."""
    height, width = images.shape[2:]
    boxes = random_boxes(numbers.numpy(), np.tile(np.array([[height, width]]), (len(images), 1)))
    out = [resample(image, box, (height, width)) for image, box in zip(images.cpu(), boxes.tolist(), strict=True)]
    return torch.stack(out).to(images.device)


def same_size_one(image: Tensor, numbers: Tensor) -> Tensor:
    """The same for one image (C, H, W)."""
    return same_size(image[None], numbers[None])[0]


@dataclass(frozen=True)
class Framing:
    """How stored images become images of one size.

    Attributes:
        random: random resized crops; else the centre.
        share: side of the central square relative to the image's shorter side; None takes the whole image.
        shape: (C, H, W) of the task.
        resolutions: (epoch, side) pairs, ascending: from this epoch on, counted from 1, images are square with this
            side; before the first pair they have the task's shape.
    """

    random: bool
    share: float | None
    shape: tuple[int, int, int]
    resolutions: tuple[tuple[int, int], ...] = ()

    def side(self, epoch: int) -> tuple[int, int]:
        """Height and width of the images of an epoch, counted from 0."""
        reached = [side for first, side in self.resolutions if first <= epoch + 1]
        return (reached[-1], reached[-1]) if reached else self.shape[1:]

    def keeps(self, epoch: int) -> bool:
        """Whether images stored in the task's shape are used as they are."""
        return not self.random and self.share is None and self.side(epoch) == self.shape[1:]

    @property
    def always_keeps(self) -> bool:
        """Whether ``keeps`` is true of every epoch."""
        sides = {(side, side) for _, side in self.resolutions}
        return not self.random and self.share is None and sides <= {self.shape[1:]}

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draw the numbers of a batch, (B, K); K is 0 if nothing is random."""
        return draw((batch,), generator) if self.random else torch.empty(batch, 0, dtype=torch.float64)

    def boxes(self, numbers: Tensor, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The boxes of a batch: (B, K) numbers and (B, 2) heights and widths -> (B, 4)."""
        if self.random:
            return random_boxes(numbers.numpy(), sizes)
        return whole_boxes(sizes) if self.share is None else central_boxes(sizes, self.share)
