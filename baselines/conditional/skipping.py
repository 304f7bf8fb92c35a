"""Evaluation that skips what gates have closed: blocks for the images that skip them, channels that no image opens.

The images of a batch open different channels, so that hardly any is closed for all of them. On large maps it is faster
to convolve image by image, each with its own channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from baselines.conditional.block import Block, add_and_rectify

ALONE_FROM_MACS = 100_000_000
"""Multiply-accumulates per image of the convolutions around the gates below which calls cost more than is saved."""
ALONE_FROM_PIXELS = 14 * 14
"""Pixels of a map below which copying an image's weights costs more than it saves."""
ALONE_BELOW = 0.5
"""Convolve image by image if on average an image opens less than this share of the channels that any of them opens."""


def of_executed(
    block: Block, x: Tensor, through: Tensor, executed: Tensor, means: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """A block's output, computed only for the images that execute it; for the others it is ReLU(through).

    Args:
        block: in evaluation mode.
        x: its input (B, C, H, W), at least 0; may be overwritten where no gradient is needed.
        through: the shortcut's output (B, C', H', W'): x itself, or a map that may be overwritten.
        executed: indices of the images that execute it, int64.
        means: of x's channels, (B, C), may be overwritten; None where unknown.

    Returns:
        The output, and the means of its channels where known.
    """
    if len(executed) == len(x):
        return add_and_rectify(through, block.residual(x)), None
    if len(executed) == 0:
        return (x, means) if block.shortcut is None else (through.relu_(), None)
    inputs = _chosen(x, executed)
    residual = block.residual(inputs)
    if block.shortcut is not None:
        outputs = add_and_rectify(_chosen(through, executed), residual)
        return _replaced(through.relu_(), executed, outputs), None
    outputs = add_and_rectify(inputs, residual)
    # Images that skip the block cost nothing: x is a ReLU's output and not used again; their means stay valid.
    if torch.is_grad_enabled():
        means = None
    elif means is not None:
        means.index_copy_(0, executed, outputs.mean((2, 3)))
    return _replaced(x, executed, outputs), means


def _chosen(maps: Tensor, numbers: Tensor) -> Tensor:
    """The maps of these images, gathered as rows of pixels: PyTorch's index_select would lose channels_last."""
    return maps.permute(0, 2, 3, 1).index_select(0, numbers).permute(0, 3, 1, 2)


def _replaced(maps: Tensor, numbers: Tensor, by: Tensor) -> Tensor:
    """Maps with those of these images replaced, in place where no gradient is needed."""
    pixels, new = maps.permute(0, 2, 3, 1), by.permute(0, 2, 3, 1)
    if torch.is_grad_enabled():
        return pixels.index_copy(0, numbers, new).permute(0, 3, 1, 2)
    pixels.index_copy_(0, numbers, new)
    return maps


def residual_of_open(block: Block, x: Tensor, gates: Tensor, like: Tensor) -> Tensor:
    """F without the channels that no image opens, or, where faster, without those that each image closes itself.

    Args:
        block: in evaluation mode.
        x: its input (B, C, H, W).
        gates: (B, G), 0 where a channel is closed.
        like: of F's shape and dtype.
    """
    final = block.by_convolution(gates)[-1]
    assert final is not None  # noqa: S101 -- the last inner convolution is always gated
    opened = int(final.any(0).sum())
    if opened == 0:
        nothing: Tensor = block.norms[-1](torch.zeros_like(like))
        return nothing
    first = block.gated.index(True)
    for conv, norm in zip(block.convolutions[:first], block.norms[:first], strict=True):
        x = F.relu(norm(conv(x)), inplace=True)
    weights = sum(conv.weight.numel() for conv in block.convolutions[-2:])
    if _alone_pays(final, opened, like.shape[2:].numel(), weights):
        x = torch.cat([_of_open(block, image, own) for image, own in zip(x.split(1), gates.split(1), strict=True)])
    else:
        x = _of_open(block, x, gates)
    out: Tensor = block.norms[-1](x)
    return out


def _alone_pays(gates: Tensor, opened: int, pixels: int, weights: int) -> bool:
    """Whether convolving image by image is faster than all images with the channels that any of them opens.

    Args:
        gates: (B, G), those before the last convolution.
        opened: number of channels that any image opens there.
        pixels: of the output map of the last two convolutions.
        weights: number of weights of both.
    """
    if gates.device.type != "cpu" or len(gates) == 1:
        return False
    if pixels < ALONE_FROM_PIXELS or pixels * weights < ALONE_FROM_MACS:
        return False
    return int(gates.count_nonzero()) < ALONE_BELOW * len(gates) * opened


def _of_open(block: Block, x: Tensor, gates: Tensor) -> Tensor:
    """The convolutions from the first gated one on, before the last normalisation.

    They compute only channels that an image opens.

    Args:
        block: in evaluation mode.
        x: input of the first gated convolution.
        gates: (B, G).
    """
    first = block.gated.index(True)
    opened: Tensor | None = None
    for index in range(first, len(block.gated)):
        own = block.by_convolution(gates)[index]
        assert own is not None  # noqa: S101 -- all inner convolutions after a gated one are gated
        conv, norm = block.convolutions[index], block.norms[index]
        before, opened = opened, own.any(0).nonzero()[:, 0]
        if len(opened) == 0:
            opened = opened.new_zeros(1)  # a closed channel, which its gate sets to 0: a convolution needs one
        x = _convolved(conv, x, conv.weight[opened] if before is None else conv.weight[opened][:, before])
        x = F.relu(_normalised(norm, x, opened), inplace=True) * own[:, opened][:, :, None, None]
    final = block.convolutions[-1]
    return _convolved(final, x, final.weight[:, opened])


def _convolved(conv: nn.Conv2d, x: Tensor, weight: Tensor) -> Tensor:
    """The convolution with some of its weights."""
    return F.conv2d(x, weight, None, conv.stride[0], int(conv.padding[0]), conv.dilation[0])


def _normalised(norm: nn.BatchNorm2d, x: Tensor, channels: Tensor) -> Tensor:
    """The normalisation of some channels."""
    assert norm.running_mean is not None and norm.running_var is not None  # noqa: S101, PT018
    return F.batch_norm(
        x,
        norm.running_mean[channels],
        norm.running_var[channels],
        norm.weight[channels],
        norm.bias[channels],
        eps=norm.eps,
    )
