"""Augmentation of uint8 images: random numbers are drawn first, then applied to a whole batch or to a single image.

The numbers come from an explicit CPU generator, so that a run sees the same crops on every device and with every
loader. Functions on a batch do not loop over samples; those on a single image give the same pixels and are, except
for changes of colour, torchvision's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 -- PyTorch's own name for it
from torch import Tensor

from bench import seeds
from bench.data.batches import colour, framing
from bench.errors import UserError, unknown


@dataclass(frozen=True)
class Augmentation:
    """A random change of images.

    Attributes:
        draw: (shape (B, C, H, W) of a batch, CPU generator) -> (B, K) numbers, one row per sample.
        batch: ((B, C, H, W) uint8 on any device, numbers) -> changed images of the same shape, contiguous.
        single: ((C, H, W) uint8 on the CPU, one row of numbers) -> the same pixels as ``batch``.
        by_epoch: instead of ``draw`` in training, where an image's numbers depend on those of its other epochs:
            (samples, seed, epoch) -> (samples, K) numbers, one row per position of the split.
    """

    draw: Callable[[torch.Size, torch.Generator], Tensor]
    batch: Callable[[Tensor, Tensor], Tensor]
    single: Callable[[Tensor, Tensor], Tensor]
    by_epoch: Callable[[int, int, int], Tensor] | None = None

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draw numbers for a batch and apply them."""
        return self.batch(images, self.draw(images.shape, generator))


def window(padding: int) -> Augmentation:
    """Pad with zeros on all sides, then cut a window of the original size at a random place per sample.

    Equals a zero-filled shift by up to ``padding`` pixels each way. The numbers are (B, 2) int64: row and column of
    each window.
    """

    def draw(shape: torch.Size, generator: torch.Generator) -> Tensor:
        return torch.randint(0, 2 * padding + 1, (shape[0], 2), generator=generator)

    def batch(images: Tensor, offsets: Tensor) -> Tensor:
        count, channels, height, width = images.shape
        offsets = offsets.to(images.device)
        padded = F.pad(images.contiguous(), [padding] * 4)
        # Every row of every window is contiguous in the padded images; one gather fetches them all.
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
    turned = numbers[:, 0].to(images.device)
    return _flip_by_order(images, turned) if images.device.type == "cpu" else _flip_by_choice(images, turned)


def _flip_by_choice(images: Tensor, turned: Tensor) -> Tensor:
    """Both versions of every image are made, and one is taken: nothing waits for the device."""
    return torch.where(turned.bool().view(-1, 1, 1, 1), images.flip(3), images)


def _flip_by_order(images: Tensor, turned: Tensor) -> Tensor:
    """Unflipped and flipped images are concatenated, then reordered: faster on a CPU than a choice per pixel."""
    order = turned.argsort(stable=True)
    count = int(turned.sum())
    kept, flipped = order.split([len(order) - count, count])
    both = torch.cat([images.index_select(0, kept), images.index_select(0, flipped).flip(3)])
    return both.index_select(0, order.argsort())


def _flip_one(image: Tensor, number: Tensor) -> Tensor:
    from torchvision.transforms.v2 import functional

    return functional.horizontal_flip(image) if number.item() else image


def _alternating(samples: int, seed: int, epoch: int) -> Tensor:
    first = torch.randint(0, 2, (samples, 1), generator=seeds.generator(seed, 0, "flip"))
    return (first + epoch) % 2


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
        place = torch.arange(length, device=start.device)
        return (place >= start) & (place < start + side)

    centres = centres.to(images.device)
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
    # Every image is flipped in every second epoch, a random half of them in the first (Jordan 2024, arXiv 2404.00498).
    "alternating-flip": Augmentation(_draw_flip, _flip, _flip_one, _alternating),
    "crop": window(4),
    # Cutout (DeVries & Taylor 2017, arXiv 1708.04552): zeros in a square of half the shorter side, at a random centre;
    # a hole whose centre is near the border is partly outside the image.
    "cutout": Augmentation(_draw_hole, _hole, _hole_in_one),
    "colour-jitter": Augmentation(colour.draw_jitter, colour.jitter, colour.one(colour.jitter)),
    "greyscale": Augmentation(colour.draw_grey, colour.greyscale, colour.one(colour.greyscale)),
    framing.RANDOM: Augmentation(framing.draw, framing.same_size, framing.same_size_one),
}


def check_names(names: Sequence[str]) -> None:
    """Raise a UserError for the first name that is not in ``AUGMENTATIONS`` or not allowed in its place."""
    for name in names:
        if name not in AUGMENTATIONS:
            raise unknown("augmentation", name, AUGMENTATIONS)
    if framing.RANDOM in names[1:]:
        raise UserError(f"augmentation {framing.RANDOM!r} must come first: it produces the training size")


def augment(images: Tensor, names: Sequence[str], generator: torch.Generator) -> Tensor:
    """Apply augmentations in the order given.

    Args:
        images: (B, C, H, W) uint8, on any device; not changed.
        names: keys of ``AUGMENTATIONS``; ``[]`` and ``["none"]`` leave the images unchanged.
        generator: a CPU generator, advanced by every batch.

    Returns:
        (B, C, H, W) uint8, on the device of ``images``.

    Raises:
        UserError: if a name is unknown.
    """
    check_names(names)
    for name in names:
        images = AUGMENTATIONS[name](images, generator)
    return images
