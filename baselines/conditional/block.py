"""A residual block, with a gate on the block or on its channels.

    block:                  x' = ReLU(shortcut(x) + F(x)),  F = BN(W2 ReLU(BN(W1 x)))   basic; a bottleneck has three
    gate on the block:      x' = ReLU(shortcut(x) + z(x) F(x))                          z 0 or 1 per image
    gates on its channels:  F  = BN(W2 (g(x) . ReLU(BN(W1 x))))                         g by image and channel, 0 closed

A bottleneck's channel gates are on the output of its 3x3 convolution, and if wanted on that of its first 1x1 too.
Shapes: B images, C channels, G gates.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F  # noqa: N812
from torch import Generator, Tensor, nn

from baselines.conditional.gates import BlockGate, ChannelGate, SaliencyGate

Gating = Literal["none", "blocks", "channels", "saliency"]
BottleneckGates = Literal["3x3", "both"]
EXPANSION = 4


class Block(nn.Module):
    """A residual block with optional gates.

    Args:
        in_channels: C of its input.
        width: channels of its inner convolutions.
        stride: of its 3x3 convolution (the first of a basic block's two).
        dilation: of its 3x3 convolutions.
        bottleneck: see ``Architecture``.
        gating, keep, bottleneck_gates: see ``GatedResNet``.
        generator: draws initial weights and noise.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        stride: int,
        dilation: int = 1,
        bottleneck: bool,
        gating: Gating,
        keep: float = 1.0,
        bottleneck_gates: BottleneckGates = "3x3",
        generator: Generator,
    ) -> None:
        super().__init__()
        self.out_channels = width * EXPANSION if bottleneck else width
        if bottleneck:
            self.convolutions = [
                convolution(in_channels, width, 1, 1, generator),
                convolution(width, width, 3, stride, generator, dilation),
                convolution(width, self.out_channels, 1, 1, generator),
            ]
        else:
            self.convolutions = [
                convolution(in_channels, width, 3, stride, generator, dilation),
                convolution(width, width, 3, 1, generator, dilation),
            ]
        self.norms = [nn.BatchNorm2d(conv.out_channels) for conv in self.convolutions]
        self._convolutions, self._norms = nn.ModuleList(self.convolutions), nn.ModuleList(self.norms)
        self.shortcut: nn.Sequential | None = None
        if stride > 1 or in_channels != self.out_channels:
            projection = convolution(in_channels, self.out_channels, 1, stride, generator)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(self.out_channels))
        self.block_gate = BlockGate(in_channels, generator=generator) if gating == "blocks" else None
        self.channel_gate: ChannelGate | SaliencyGate | None = None
        # For each convolution but the last, whether there are gates on its output.
        self.gated = [bottleneck_gates == "both", True] if bottleneck else [True]
        if gating == "channels":
            self.channel_gate = ChannelGate(in_channels, sum(self.gated) * width, generator=generator)
        elif gating == "saliency":
            self.channel_gate = SaliencyGate(in_channels, width, keep=keep, generator=generator)

    def residual(self, x: Tensor, gates: Tensor | None = None) -> Tensor:
        """F: (B, C, H, W) -> (B, C', H', W'); channel gates (B, G) close channels of inner convolutions."""
        for conv, norm, own in zip(self.convolutions, self.norms, [*self.by_convolution(gates), None], strict=True):
            x = norm(conv(x))
            if conv is not self.convolutions[-1]:
                x = F.relu(x, inplace=True)
            if own is not None:
                x = x * own[:, :, None, None]
        return x

    def by_convolution(self, gates: Tensor | None) -> list[Tensor | None]:
        """The gates (B, G) as those of each convolution but the last, (B, width); None where there are none."""
        if gates is None:
            return [None] * len(self.gated)
        own = iter(gates.chunk(sum(self.gated), dim=1))
        return [next(own) if gated else None for gated in self.gated]


def add_and_rectify(through: Tensor, residual: Tensor) -> Tensor:
    """ReLU(through + residual), written over ``residual``."""
    return residual.add_(through).relu_()


def convolution(
    inputs: int, outputs: int, side: int, stride: int, generator: Generator, dilation: int = 1
) -> nn.Conv2d:
    """A convolution without bias that keeps the size of maps, up to its stride."""
    padding = dilation * (side // 2)
    conv = nn.Conv2d(inputs, outputs, side, stride=stride, padding=padding, dilation=dilation, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu", generator=generator)
    return conv
