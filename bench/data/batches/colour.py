"""Random changes of colour: jitter of brightness, contrast, saturation and hue, and random greyscale.

The operations are those of torchvision's ``ColorJitter`` and ``RandomGrayscale`` on images of floats, one after the
other without rounding between them; the result is rounded to whole pixel values at the end. Greyscale images have no
saturation and no hue: there, these two operations do nothing.

On a CPU with numba, which comes with FFCV, ``colour_compiled`` does the jitter, with the same numbers to the bit.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from bench.data.batches.scaling import WHITE

BRIGHTNESS = CONTRAST = SATURATION = 0.4
"""Factors are drawn uniformly from 1 - this to 1 + this."""
HUE = 0.1
"""The hue is shifted by up to this share of the whole circle, either way."""
GREY = 0.2
"""Probability of greyscale."""
LUMA = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in an image's grey (ITU-R 601-2)."""
OPERATIONS = 4
BASES = (64, 16, 4, 1)
"""Powers of the number of operations: an order as one number."""
FRACTIONS = 65536
"""Parts of a pixel value in which an image's grey is summed."""


def draw_jitter(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Numbers of ``jitter``, (B, 8) float32: a factor per operation, then the operations in the image's own order."""
    uniform = torch.rand(shape[0], 2 * OPERATIONS, generator=generator)
    widths = torch.tensor([BRIGHTNESS, CONTRAST, SATURATION, HUE])
    middles = torch.tensor([1.0, 1.0, 1.0, 0.0])
    factors = middles + (2 * uniform[:, :OPERATIONS] - 1) * widths
    order = uniform[:, OPERATIONS:].argsort(dim=1, stable=True)
    return torch.cat([factors, order.float()], dim=1)


def jitter(images: Tensor, numbers: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and hue, in an order of each image's own.

    Args:
        images: (B, C, H, W) uint8, C 1 or 3, on any device; not changed.
        numbers: (B, 8), see ``draw_jitter``.

    Returns:
        (B, C, H, W) uint8.
    """
    factors, order = numbers[:, :OPERATIONS].contiguous(), numbers[:, OPERATIONS:].long()
    if images.device.type != "cpu":
        return jitter_by_choice(images, factors.to(images.device), order.to(images.device))
    compiled = _compiled() if images.shape[1] > 1 else None
    if compiled is None:
        return jitter_by_operations(images, factors, order)
    out = torch.empty_like(images, memory_format=torch.contiguous_format)
    compiled(images.contiguous().numpy(), factors.numpy(), order.numpy(), out.numpy())
    return out


@cache
def _compiled() -> Callable[..., None] | None:
    """The compiled jitter; None without numba, or where numba finds no folder to keep compiled code in."""
    if importlib.util.find_spec("numba") is None:
        return None
    try:
        compiled: Callable[..., None] = importlib.import_module("bench.data.batches.colour_compiled").jitter
    except RuntimeError:
        return None
    return compiled


def jitter_by_operations(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """``jitter`` with PyTorch's operations: the definition.

    Images with the same order lie side by side as floats, and are changed in place.
    """
    code = (order * torch.tensor(BASES)).sum(1)
    kinds, counts = code.unique(return_counts=True)
    places = code.argsort(stable=True).to(images.device)
    x, factors = images.index_select(0, places).float(), factors.to(images.device).index_select(0, places)
    start = 0
    for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
        part = slice(start, start + count)
        for base in BASES:
            column = kind // base % OPERATIONS
            ADJUST[column](x[part], factors[part, column].view(-1, 1, 1, 1))
        start += count
    return torch.empty_like(images).index_copy_(0, places, x.add_(0.5).to(torch.uint8))


def jitter_by_choice(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """``jitter`` without a decision on the CPU: in every place, each operation is done to all images, one is kept."""
    x = images.float()
    for place in range(OPERATIONS):
        changed = x
        for number, adjust in enumerate(ADJUST):
            other = x.clone()
            adjust(other, factors[:, number].view(-1, 1, 1, 1))
            changed = torch.where((order[:, place] == number).view(-1, 1, 1, 1), other, changed)
        x = changed
    return x.add_(0.5).to(torch.uint8)


def draw_grey(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Numbers of ``greyscale``, (B, 1) float32 in [0, 1)."""
    return torch.rand(shape[0], 1, generator=generator)


def greyscale(images: Tensor, numbers: Tensor) -> Tensor:
    """Make the images grey, in three equal channels, whose number is below ``GREY``: (B, C, H, W) uint8."""
    if images.shape[1] == 1:
        return images
    if images.device.type != "cpu":
        return greyscale_by_choice(images, numbers[:, 0].to(images.device) < GREY)
    chosen = (numbers[:, 0] < GREY).nonzero().flatten()
    if not len(chosen):
        return images
    grey = _grey(images.index_select(0, chosen).float()).round_().to(torch.uint8)
    return images.index_copy(0, chosen, grey.expand(-1, images.shape[1], -1, -1))


def greyscale_by_choice(images: Tensor, chosen: Tensor) -> Tensor:
    """``greyscale`` of the images where ``chosen`` (B,) is true, without a decision on the CPU."""
    grey = _grey(images.float()).round_().to(torch.uint8)
    return torch.where(chosen.view(-1, 1, 1, 1), grey, images)


def one(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The same change of a single image (C, H, W), with one row of numbers."""
    return lambda image, numbers: change(image[None], numbers[None])[0]


def _grey(x: Tensor) -> Tensor:
    """The grey (B, 1, H, W) of float images (B, C, H, W); a new tensor."""
    if x.shape[1] == 1:
        return x.clone()
    red, green, blue = LUMA
    return (x[:, :1] * red).add_(x[:, 1:2] * green).add_(x[:, 2:] * blue)


# The operations change float images (B, C, H, W), from 0 to 255, in place; factors are (B, 1, 1, 1).


def _adjust_brightness(x: Tensor, factor: Tensor) -> None:
    x.mul_(factor).clamp_(0, WHITE)


def _adjust_contrast(x: Tensor, factor: Tensor) -> None:
    # Sums of whole numbers are the same in any order.
    total = (_grey(x) * FRACTIONS).to(torch.int64).sum((1, 2, 3), keepdim=True)
    mean = (total.double() / (FRACTIONS * x[0, 0].numel())).float()
    x.mul_(factor).add_(mean.mul_(1 - factor)).clamp_(0, WHITE)


def _adjust_saturation(x: Tensor, factor: Tensor) -> None:
    if x.shape[1] > 1:
        grey = _grey(x).mul_(1 - factor)
        x.mul_(factor).add_(grey).clamp_(0, WHITE)


def _adjust_hue(x: Tensor, factor: Tensor) -> None:
    """Turn the hue by a share of the circle; the largest channel V and its distance C to the smallest stay.

    With the hue H in sixths of the circle, from 0 (red) to below 6, the channels are V - C plus

        red    C clamp(|H - 3| - 1, 0, 1)
        green  C clamp(2 - |H - 2|, 0, 1)
        blue   C clamp(2 - |H - 4|, 0, 1)
    """
    if x.shape[1] == 1:
        return
    red, green, blue = x.unbind(1)
    high, low = torch.maximum(green, blue), torch.minimum(green, blue)
    sector = (green < blue).float().mul_(-6)
    value, middle = torch.maximum(red, high), torch.minimum(red, high)
    sector.add_((red < high).float().mul_(-2 - 2 * sector))
    smallest = torch.minimum(middle, low)
    chroma = value.sub_(smallest)
    hue = middle.sub_(low).div_(chroma.clamp_min(1e-30)).add_(sector).abs_()  # without colour, 0 is divided
    hue.add_(6 * factor.view(-1, 1, 1))
    hue.sub_((hue / 6).floor_().mul_(6))
    red.copy_((hue - 3).abs_().sub_(1).clamp_(0, 1).mul_(chroma).add_(smallest))
    green.copy_((hue - 2).abs_().neg_().add_(2).clamp_(0, 1).mul_(chroma).add_(smallest))
    blue.copy_((hue - 4).abs_().neg_().add_(2).clamp_(0, 1).mul_(chroma).add_(smallest))


ADJUST = (_adjust_brightness, _adjust_contrast, _adjust_saturation, _adjust_hue)
