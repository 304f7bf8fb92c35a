"""R3D-18, a video network (Tran et al., CVPR 2018, arXiv 1711.11248), with pools in place of its strides.

    stem         a convolution, then a pool over space
    a block that makes maps smaller    a pool over time and space, then its first convolution; the same in its shortcut

Shapes: B videos, C channels, T frames, H x W pixels, N classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.video.resnet import BasicBlock, BasicStem, Conv3DSimple, VideoResNet

from asge.layers.pooling import Pooling, pool


class Pool3d(nn.Module):
    """A pool by name over adjacent windows."""

    def __init__(self, kind: Pooling, size: tuple[int, int, int]) -> None:
        super().__init__()
        self.kind: Pooling = kind
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T', H', W')."""
        return pool(x, self.kind, self.size, ceil_mode=True)


def video_network(
    classes: int, *, pooling: Pooling = "soft", blocks: Sequence[int] = (2, 2, 2, 2), generator: torch.Generator
) -> nn.Module:
    """Build R3D-18 with pools: videos (B, 3, T, H, W) -> logits (B, N).

    Args:
        classes: N.
        pooling: kind of all pools, see ``asge.pooling.pool``.
        blocks: number in each stage of 64, 128, 256 and 512 channels; R3D-18 has two each.
        generator: draws the first weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        model: nn.Module = VideoResNet(BasicBlock, [Conv3DSimple] * 4, list(blocks), BasicStem, num_classes=classes)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv3d) and max(child.stride) > 1:
                time, height, width = child.stride
                smaller = Pool3d(pooling, (time, height, width))
                child.stride = (1, 1, 1)
                in_stem = isinstance(parent, BasicStem)
                setattr(parent, name, nn.Sequential(*((child, smaller) if in_stem else (smaller, child))))
    return model
