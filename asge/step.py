"""One block's local step on one batch: its loss, and the gradients of the parameters that it trains.

Both functions compute the same:

    Y = ReLU(Z),  Z = Conv(X)
    g = mean of Y^2 in every patch          (or the sum; then nothing is divided by the pixels below)
    a = W g + b
    L = CE(a, label)

``autograd_step`` writes just that and lets autograd differentiate it. ``fast_step`` has the derivative written out:

    dL/da = (softmax(a) - onehot(label)) / B       with label smoothing s: onehot (1 - s) + s / N
    dL/dg = dL/da W
    dL/dY = 2 Y * dL/dg of the patch / pixels of the patch
    dL/dZ = dL/dY                          since Y = 0 wherever ReLU is closed
    dL/dConv                               the convolution's weight gradient; its input's is needed only if there is a
                                           gate before it

Where g is made of Y itself, a control, dL/dZ = sign(Y) * dL/dg of the patch / pixels of the patch.
So nothing is stored for a backward pass: dL/dZ is written over Y, squares are computed a few images at a time, and
the patches reuse RMSPool's windows where they are made of whole ones.

Shapes: B images, C channels, H x W pixels, P patches per side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from asge import goodness
from asge.block import ASGEBlock, pooled
from asge.layers.pooling import root_

StepName = Literal["fast", "autograd"]
SLICE_BYTES = 2**21
"""Bytes of Y that are squared at a time: about the size of a core's own cache."""


@dataclass(frozen=True)
class Outcome:
    """Results of a block's step.

    Attributes:
        loss: scalar, detached.
        features: of the classifiers, see ``ASGEBlock``, (B, C), detached.
        next_input: X of the next block, detached; None if not requested.
    """

    loss: Tensor
    features: Tensor
    next_input: Tensor | None


def autograd_step(block: ASGEBlock, x: Tensor, labels: Tensor, *, propagate: bool, seed: int | None = None) -> Outcome:
    """Loss and gradients of a block, by autograd.

    Args:
        block: its parameters' ``grad``, None before the call, is set.
        x: detached input (B, C, H, W).
        labels: (B,) int64.
        propagate: whether X of the next block is needed.
        seed: of the dropout on its way there; None for none.
    """
    with torch.enable_grad():
        y = block.activate(x)
        loss = block.local_loss(block.local_logits(y), labels)
        loss.backward()
    y = y.detach()
    next_input = block.propagate(y, seed) if propagate or block.features == "propagated" else None
    return Outcome(loss.detach(), block.pooled(y, next_input), next_input if propagate else None)


@torch.no_grad()
def fast_step(block: ASGEBlock, x: Tensor, labels: Tensor, *, propagate: bool, seed: int | None = None) -> Outcome:
    """Loss and gradients of a block without autograd; arguments and results of ``autograd_step``."""
    gated: Tensor | None = None
    if block.unit.gate is None:
        y = _activate(block, x)
    else:
        with torch.enable_grad():  # a gate may be any module; the convolution after it is not differentiated here
            gated = block.unit.prepare(x)
        y = block.unit.convolve(gated.detach())
    next_input, g = _branches(block, y, propagate=propagate or block.features == "propagated", seed=seed)
    features = _features(block, y, next_input, g)
    logits = F.linear(g.flatten(1), block.weight, block.bias)
    loss = block.local_loss(logits, labels)
    by_logit = logits.softmax(1)
    by_logit[torch.arange(len(labels), device=labels.device), labels] -= 1 - block.label_smoothing
    if block.label_smoothing:
        by_logit -= block.label_smoothing / logits.shape[1]
    by_goodness = ((by_logit / len(labels)) @ block.weight).view_as(g)
    if block.reduction == "mean":
        by_goodness /= goodness.areas(y.shape[2], y.shape[3], block.patches, g)
    if block.goodness == "squares":
        _multiply_patches(y, 2 * by_goodness)
    else:
        _multiply_patches(y.sign_(), by_goodness)
    if gated is None:
        _set_gradients(block, x, y)
    else:
        _set_gradients_through_gate(block, gated, y)
    return Outcome(loss, features, next_input if propagate else None)


def _features(block: ASGEBlock, y: Tensor, x: Tensor | None, g: Tensor) -> Tensor:
    """``block.pooled``; the mean of the squares from the goodness (B, C, P, P)."""
    if block.features != "energies" or block.goodness != "squares":
        return block.pooled(y, x)
    height, width = y.shape[2:]
    if block.reduction == "sum":
        return g.sum((2, 3)) / (height * width)
    if height % block.patches == 0 and width % block.patches == 0:
        return pooled(g)
    return (g * goodness.areas(height, width, block.patches, g)).sum((2, 3)) / (height * width)


def _activate(block: ASGEBlock, x: Tensor) -> Tensor:
    """``block.activate``, without gamma X + beta as a map of its own: Conv(gamma X) + Conv(beta), by linearity.

    The second is the same for all images, but not for all pixels: there is no beta beyond the border. With V the sum
    over input channels of W beta, for each place in the kernel, it is the sum of V over the places within the map.
    """
    unit, conv = block.unit, block.unit.conv
    if unit.gamma is None or unit.beta is None:
        return block.activate(x)
    z: Tensor = conv._conv_forward(x, conv.weight * unit.gamma, None)  # noqa: SLF001 -- its own forward, other weights
    v = (_by_input(conv.weight) @ unit.beta.flatten()).view(conv.out_channels, -1)
    of_beta = (v @ _within(conv, x.shape[2:], z.shape[2:], v)).view(z.shape[1:])
    if conv.bias is not None:
        of_beta += conv.bias[:, None, None]
    of_beta = of_beta[None].contiguous(memory_format=torch.channels_last)
    return z.add_(of_beta).relu_()


def _branches(block: ASGEBlock, y: Tensor, *, propagate: bool, seed: int | None) -> tuple[Tensor | None, Tensor]:
    """X of the next block and the goodness (B, C, P, P), both from one pass over Y^2 where possible."""
    pool, patches, reduction = block.unit.pool, block.patches, block.reduction
    if block.goodness != "squares":
        g = goodness.patch_energy(y, patches, reduction)
        return block.propagate(y, seed) if propagate else None, g
    if not (propagate and pool > 1 and block.unit.pooling == "rms"):
        g = torch.cat([goodness.patch_energy(y[part].square(), patches, reduction) for part in _slices(y)])
        return block.propagate(y, seed) if propagate else None, g
    whole = all(side % (pool * patches) == 0 for side in y.shape[2:])
    channels, height, width = y.shape[1:]
    shape = (len(y), channels, height // pool, width // pool)
    mean_squares = torch.empty(shape, dtype=y.dtype, device=y.device, memory_format=torch.channels_last)
    energies = []
    for part in _slices(y):
        squares = y[part].square()
        mean_squares[part] = F.avg_pool2d(squares, pool)
        if not whole:
            energies.append(goodness.patch_energy(squares, patches, reduction))
    if whole:
        energies = [goodness.patch_energy(mean_squares, patches, "mean")]
        if reduction == "sum":
            energies[0] *= goodness.areas(height, width, patches, y)
    return block.unit.normalize(root_(mean_squares), block.mask(y, seed)), torch.cat(energies)


def _slices(y: Tensor) -> list[slice]:
    """Slices of a few images on the CPU, where their squares then stay in the cache; one slice of all elsewhere."""
    if y.device.type != "cpu":
        return [slice(None)]
    count = max(1, SLICE_BYTES // y[:1].nbytes)
    return [slice(start, start + count) for start in range(0, len(y), count)]


def _multiply_patches(y: Tensor, factors: Tensor) -> None:
    """Multiply every activation (B, C, H, W), in place, by the factor (B, C, P, P) of its patch."""
    height, width = y.shape[2:]
    patches = factors.shape[-1]
    if height % patches == 0 and width % patches == 0:
        # (B, C, P, H/P, P, W/P), a view in either memory format
        by_patch = y.unflatten(3, (patches, width // patches)).unflatten(2, (patches, height // patches))
        by_patch *= factors[:, :, :, None, :, None]
        return
    by_column = (goodness.membership(width, patches, y).T @ factors.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    for row, (start, end) in enumerate(goodness.cuts(height, patches)):
        y[:, :, start:end] *= by_column[:, :, row : row + 1]


def _set_gradients(block: ASGEBlock, x: Tensor, gradient: Tensor) -> None:
    """Set the gradients of a block's parameters, from that of its convolution's output (whose dtype may be autocast's).

    gamma and beta need no gradient of X: with U = gamma X + beta, and S the sums of dL/dZ over the pixels that
    each weight of the kernel meets within the map,

        dL/dgamma = W . dL/dW(X),   dL/dbeta = W . S,   dL/dW = gamma dL/dW(X) + beta S

    where dL/dW(X) is the weight gradient with X for input, and the dot sums over output channels and kernel.
    """
    unit, conv = block.unit, block.unit.conv
    _, by_weight, by_bias = _convolution_backward(conv, x, gradient, of_input=False)
    if unit.gamma is not None and unit.beta is not None:
        by_weight = by_weight.to(conv.weight).contiguous(memory_format=torch.channels_last)
        weight, from_x = _by_input(conv.weight), _by_input(by_weight)  # (C' k k, C)
        inside = _sums_inside(gradient, conv, x.shape[2:]).flatten()
        _assign(unit.gamma, inside.new_ones(len(weight)) @ (weight * from_x))
        _assign(unit.beta, inside @ weight)
        from_x.mul_(unit.gamma.flatten()).addr_(inside, unit.beta.flatten())
    _assign(conv.weight, by_weight)
    _assign(conv.bias, by_bias)


def _set_gradients_through_gate(block: ASGEBlock, gated: Tensor, gradient: Tensor) -> None:
    """The same behind a gate: the gradient of the convolution's input is needed, and autograd continues from there."""
    conv = block.unit.conv
    by_input, by_weight, by_bias = _convolution_backward(conv, gated.detach(), gradient, of_input=True)
    torch.autograd.backward(gated, by_input.to(gated.dtype))
    _assign(conv.weight, by_weight)
    _assign(conv.bias, by_bias)


def _convolution_backward(
    conv: nn.Conv2d, x: Tensor, gradient: Tensor, *, of_input: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input (undefined unless ``of_input``), weight and bias, from that of the output."""
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, x.to(gradient.dtype), conv.weight.to(gradient.dtype), [conv.out_channels], conv.stride,
        conv.padding, conv.dilation, False, (0, 0), 1, (of_input, True, True),
    )  # fmt: skip
    return gradients


def _by_input(weight: Tensor) -> Tensor:
    """A kernel (C', C, k, k) as a matrix (C' k k, C): a view if its layout is channels last."""
    return weight.permute(0, 2, 3, 1).flatten(0, 2)


def _sums_inside(gradient: Tensor, conv: nn.Conv2d, size: Sequence[int]) -> Tensor:
    """S of an output (B, C, H, W): for each place in the kernel, the sum over pixels that meet the input, (C, k k)."""
    batch, channels, *pixels = gradient.shape
    by_pixel = gradient.permute(0, 2, 3, 1).flatten(1)  # (B, H W C), a view if channels are last
    total = (by_pixel.new_ones(batch) @ by_pixel).view(-1, channels).to(conv.weight.dtype)
    return (_within(conv, size, pixels, total) @ total).T


def _within(conv: nn.Conv2d, size: Sequence[int], out: Sequence[int], like: Tensor) -> Tensor:
    """(k k, H W): 1 where that place in the kernel, at that pixel of the output, lies within the input. Read only."""
    padding = [int(each) for each in conv.padding]
    axes = tuple(zip(size, out, conv.stride, padding, conv.kernel_size, strict=True))
    return _kept_within(axes, like.dtype, like.device)


@cache
def _kept_within(axes: tuple[tuple[int, int, int, int, int], ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    # Cached: copying it to a GPU in every step would wait for everything queued there.
    with torch.inference_mode(False):  # later calls may differentiate: an inference tensor could not serve them
        found = []
        for side, pixels, stride, padding, kernel in axes:
            place = torch.arange(pixels) * stride - padding + torch.arange(kernel)[:, None]
            found.append(((place >= 0) & (place < side)).to(dtype))
        return torch.kron(*found).to(device)


def _assign(parameter: Tensor | None, gradient: Tensor) -> None:
    """Set a gradient in the dtype and memory layout of its parameter, which fused optimisers assume."""
    if parameter is not None:
        gradient = gradient.view(parameter.shape)
        equal = gradient.dtype == parameter.dtype and gradient.stride() == parameter.stride()
        parameter.grad = gradient if equal else torch.empty_like(parameter).copy_(gradient)
