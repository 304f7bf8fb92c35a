"""From pixel values to the inputs of a network.

standard  pixels in [0, 1], less the task's mean, divided by its deviation, per channel
unit      pixels in [0, 1]
rms       every image divided by the root mean square of its pixels over channels and space; a black image stays black
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Scaling = Literal["standard", "unit", "rms"]
WHITE = 255.0


def scaled(images: Tensor, scaling: Scaling, mean: Tensor, std: Tensor) -> Tensor:
    """The inputs of a network for a batch of images.

    Args:
        images: (B, C, H, W) uint8; not changed.
        scaling: see above.
        mean: (1, C, 1, 1) float32, in units of a pixel value (0 to 255); like ``std``, of "standard" alone.
        std: likewise.

    Returns:
        (B, C, H, W) float32, the same for an image in every batch, to the bit.
    """
    # Converted first, as PyTorch subtracts much slower from uint8.
    x = images.to(torch.float32)
    if scaling == "standard":
        return x.sub_(mean).div_(std)
    if scaling == "unit":
        return x.div_(WHITE)
    # Sums of whole numbers are exact in float64, whatever their order.
    mean_square = x.to(torch.float64).square_().mean((1, 2, 3), keepdim=True)
    return x.div_(mean_square.sqrt_().clamp_min_(torch.finfo(torch.float32).tiny).to(torch.float32))
