"""A first convolution that begins as whitening of the images (Page 2019; Jordan 2024, arXiv 2404.00498).

With the patches p of images, (C k k) values each, S = mean of p p' = V diag(v) V', and v falling,

    kernels 2 i and 2 i + 1 = +- SCALE V_i / sqrt(v_i + SMALL mean(v))

so that their outputs have about the same variance and no correlation. Both signs, since ReLU keeps one half of each.
Kernels beyond these 2 C k k keep their random draw; all of them are trained like any other.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from asge.common.tensors import in_full_precision

FirstLayer = Literal["random", "whitened"]
SCALE = 0.3
SMALL = 1e-2
IMAGES = 32
"""Images that are looked at: thousands of patches each."""


@torch.no_grad()
def whiten(conv: nn.Conv2d, images: Tensor) -> None:
    """Set the kernels of a first convolution by the first images of a batch.

    Args:
        conv: its weight is changed; without groups or dilation.
        images: (B, C, H, W) float, as the network gets them.
    """
    with in_full_precision(images.device):
        _whiten(conv, images)


def _whiten(conv: nn.Conv2d, images: Tensor) -> None:
    patches = F.unfold(images[:IMAGES].float(), conv.kernel_size).transpose(1, 2).flatten(0, 1)
    variances, directions = torch.linalg.eigh((patches.T @ patches / len(patches)).double())
    rows = (directions / (variances + SMALL * variances.mean()).clamp_min(1e-12).sqrt()).T.flip(0)
    # An eigenvector's sign is arbitrary: its largest value is positive here, on every machine.
    rows = rows * rows.gather(1, rows.abs().argmax(1, keepdim=True)).sign()
    pairs = SCALE * torch.stack([rows, -rows], dim=1).flatten(0, 1)
    count = min(len(pairs), len(conv.weight))
    conv.weight[:count] = pairs[:count].view(count, *conv.weight.shape[1:]).to(conv.weight)


class Whitening:
    """Whitens the first convolution of a network by the first batch that it sees, if the setting asks for it.

    Attributes:
        waits: whether it has seen none yet; to be kept in a checkpoint.
    """

    def __init__(self, network: nn.Module, first_layer: FirstLayer) -> None:
        self._network = network
        self.waits = first_layer == "whitened"

    def see(self, images: Tensor) -> None:
        """Take a batch of images (B, C, H, W) before the network's step with it."""
        if self.waits:
            whiten(next(module for module in self._network.modules() if isinstance(module, nn.Conv2d)), images)
            self.waits = False
