"""Augmentation of uint8 images: random numbers first, then what they do to a whole batch or to a single image.

The numbers come from an explicit CPU generator, so that a run sees the same crops on every device and with every
loader. Nothing that works on a batch loops over its samples; what works on a single image is torchvision's, and gives
the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 -- PyTorch's own name for it
from torch import Tensor

from bench.data.batches import framing
from bench.errors import UserError, unknown


@dataclass(frozen=True)
class Augmentation:
    """One way to change images at random.

    Attributes:
        draw: from the shape of a batch (B, C, H, W) and a CPU generator to (B, K) numbers, a row for every sample.
        batch: from (B, C, H, W) uint8 on any device and these numbers to changed images of the same shape; contiguous.
        single: from (C, H, W) uint8 on the CPU and one row of the numbers to the same as ``batch`` gives.
    """

    draw: Callable[[torch.Size, torch.Generator], Tensor]
    batch: Callable[[Tensor, Tensor], Tensor]
    single: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draw for a batch, and change it."""
        return self.batch(images, self.draw(images.shape, generator))


def window(padding: int) -> Augmentation:
    """Pad with zeros on all sides, then cut a window of the old size at a place of its own for every sample.

    The same thing as a shift by up to ``padding`` pixels each way, zero filled. The numbers are (B, 2) int64: row and
    column of each window.
    """

    def draw(shape: torch.Size, generator: torch.Generator) -> Tensor:
        return torch.randint(0, 2 * padding + 1, (shape[0], 2), generator=generator)

    def batch(images: Tensor, offsets: Tensor) -> Tensor:
        count, channels, height, width = images.shape
        offsets = offsets.to(images.device)
        padded = F.pad(images.contiguous(), [padding] * 4)
        # Every row of every window is a piece of the padded images' memory; one gather fetches them all.
        pieces = padded.as_strided((padded.numel() - width + 1, width), (1, 1))
        tall, wide = padded.shape[2:]
        planes = torch.arange(0, padded.numel(), tall * wide, device=images.device).view(count, channels, 1)
        rows = torch.arange(0, height * wide, wide, device=images.device)
        corners = offsets[:, :1] * wide + offsets[:, 1:]
        starts = planes + (rows + corners)[:, None, :]
        return pieces.index_select(0, starts.flatten()).view(images.shape)

    def single(image: Tensor, offset: Tensor) -> Tensor:
        from torchvision.transforms.v2 import functional

        row, column = offset.tolist()
        height, width = image.shape[1:]
        cut: Tensor = functional.crop(functional.pad(image, [padding]), row, column, height, width)
        return cut

    return Augmentation(draw, batch, single)


def _draw_flip(shape: torch.Size, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, (shape[0], 1), generator=generator)


def _flip(images: Tensor, numbers: Tensor) -> Tensor:
    # All that is kept, all that is flipped, then back into the old order: faster than a choice pixel by pixel, and than
    # writing images into their places.
    turned = numbers[:, 0].to(images.device)
    order = turned.argsort(stable=True)
    count = int(numbers.sum())
    kept, flipped = order.split([len(order) - count, count])
    both = torch.cat([images.index_select(0, kept), images.index_select(0, flipped).flip(3)])
    return both.index_select(0, order.argsort())


def _flip_one(image: Tensor, number: Tensor) -> Tensor:
    from torchvision.transforms.v2 import functional

    return functional.horizontal_flip(image) if number.item() else image


def _side_of_hole(height: int, width: int) -> int:
    return min(height, width) // 2


def _draw_hole(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Row and column of the centre, (B, 2) int64: all rows first, then all columns."""
    centres = [torch.randint(0, length, (shape[0], 1), generator=generator) for length in shape[2:]]
    return torch.cat(centres, dim=1)


def _hole(images: Tensor, centres: Tensor) -> Tensor:
    height, width = images.shape[2:]
    side = _side_of_hole(height, width)

    def covered(length: int, centre: Tensor) -> Tensor:
        start = centre[:, None] - side // 2
        place = torch.arange(length)
        return ((place >= start) & (place < start + side)).to(images.device)

    rows, columns = covered(height, centres[:, 0]), covered(width, centres[:, 1])
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


def _hole_in_one(image: Tensor, centre: Tensor) -> Tensor:
    from torchvision.transforms.v2 import functional

    height, width = image.shape[1:]
    side = _side_of_hole(height, width)
    top, left = (centre - side // 2).tolist()
    row, column = max(0, top), max(0, left)
    rows, columns = min(height, top + side) - row, min(width, left + side) - column
    black = torch.zeros(1, 1, 1, dtype=image.dtype)
    erased: Tensor = functional.erase(image, row, column, rows, columns, black)
    return erased


NOTHING = Augmentation(
    draw=lambda shape, _: torch.empty(shape[0], 0, dtype=torch.int64),
    batch=lambda images, _: images,
    single=lambda image, _: image,
)

AUGMENTATIONS: Mapping[str, Augmentation] = {
    "none": NOTHING,
    "shift": window(2),
    "flip": Augmentation(_draw_flip, _flip, _flip_one),  # left to right, with probability one half
    "crop": window(4),
    # Cutout (DeVries & Taylor 2017, arXiv 1708.04552): zeros in a square of half the shorter side, at a random centre;
    # a hole whose centre is near the border is partly outside the image.
    "cutout": Augmentation(_draw_hole, _hole, _hole_in_one),
    framing.RANDOM: Augmentation(framing.draw, framing.same_size, framing.same_size_one),
}


def check_names(names: Sequence[str]) -> None:
    """Raise the UserError for the first name that is not in ``AUGMENTATIONS``, or stands where it cannot."""
    for name in names:
        if name not in AUGMENTATIONS:
            raise unknown("augmentation", name, AUGMENTATIONS)
    if framing.RANDOM in names[1:]:
        raise UserError(f"augmentation {framing.RANDOM!r} has to be the first: it makes images of the size to train on")


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
