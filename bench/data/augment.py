"""Augmentation of whole batches of uint8 images.

Random numbers come from an explicit CPU generator, so that a run sees the same crops on every device. Nothing here
loops over samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812 -- PyTorch's own name for it
from torch import Tensor

from bench.errors import unknown

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


def random_window(images: Tensor, generator: torch.Generator, *, padding: int) -> Tensor:
    """Pad with zeros on all sides, then cut a window of the old size at a place of its own for every sample.

    The same thing as a shift by up to ``padding`` pixels each way, zero filled.

    Args:
        images: (B, C, H, W), any dtype and device.
        generator: a CPU generator; gives (B, 2) integers: row and column of each window.
        padding: at least 0.

    Returns:
        (B, C, H, W) like ``images``, contiguous.
    """
    batch, _, height, width = images.shape
    offsets = torch.randint(0, 2 * padding + 1, (batch, 2), generator=generator).to(images.device)
    padded = F.pad(images, [padding] * 4)
    # All windows of all samples, as a view without memory of its own: (B, C, 2p+1, 2p+1, H, W).
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    samples = torch.arange(batch, device=images.device)
    return windows[samples, :, offsets[:, 0], offsets[:, 1]].contiguous()


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror every sample left to right with probability one half.

    Args:
        images: (B, C, H, W), any dtype and device.
        generator: a CPU generator; gives B integers, 0 or 1.

    Returns:
        (B, C, H, W) like ``images``.
    """
    flipped = torch.randint(0, 2, (len(images), 1, 1, 1), generator=generator).bool().to(images.device)
    return torch.where(flipped, images.flip(3), images)


def random_hole(images: Tensor, generator: torch.Generator) -> Tensor:
    """Cutout (DeVries & Taylor 2017, arXiv 1708.04552): zeros in a square of half the shorter side, at a random centre.

    A hole whose centre is near the border is partly outside the image.

    Args:
        images: (B, C, H, W), any dtype and device.
        generator: a CPU generator; gives B rows, then B columns of the centres.

    Returns:
        (B, C, H, W) like ``images``.
    """
    batch, _, height, width = images.shape
    side = min(height, width) // 2

    def covered(length: int) -> Tensor:
        start = torch.randint(0, length, (batch, 1), generator=generator) - side // 2
        place = torch.arange(length)
        return ((place >= start) & (place < start + side)).to(images.device)

    rows, columns = covered(height), covered(width)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


def _identity(images: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG001 -- has an augmentation's signature
    return images


AUGMENTATIONS: Mapping[str, Augmentation] = {
    "none": _identity,
    "shift": partial(random_window, padding=2),
    "flip": random_flip,
    "crop": partial(random_window, padding=4),
    "cutout": random_hole,
}


def check_names(names: Sequence[str]) -> None:
    """Raise the UserError for the first name that is not in ``AUGMENTATIONS``."""
    for name in names:
        if name not in AUGMENTATIONS:
            raise unknown("augmentation", name, AUGMENTATIONS)


def augment(images: Tensor, names: Sequence[str], generator: torch.Generator) -> Tensor:
    """Apply augmentations in the order given.

    Args:
        images: (B, C, H, W) uint8, on any device; not changed.
        names: keys of ``AUGMENTATIONS``; ``[]`` and ``["none"]`` leave the images as they are.
        generator: a CPU generator, which every batch moves on.

    Returns:
        (B, C, H, W) uint8, on the device of ``images``.

    Raises:
        UserError: if a name is unknown.
    """
    check_names(names)
    for name in names:
        images = AUGMENTATIONS[name](images, generator)
    return images
