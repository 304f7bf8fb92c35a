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

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from asge import goodness
from asge.block import ASGEBlock, pooled
from asge.common.tensors import at_least_float32, constant, in_full_precision
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
        y = block.activate(x)
    else:
        with torch.enable_grad():  # a gate may be any module; the convolution after it is not differentiated here
            gated = block.unit.prepare(x)
        y = block.unit.convolve(gated.detach())
    with in_full_precision(y.device):
        return _learn(block, x if gated is None else gated, y, labels, propagate=propagate, seed=seed)


def _learn(block: ASGEBlock, x: Tensor, y: Tensor, labels: Tensor, *, propagate: bool, seed: int | None) -> Outcome:
    """Loss and gradients from a block's input, which has been through its gate if it has one, and its activations."""
    next_input, g = _branches(block, y, propagate=propagate or block.features == "propagated", seed=seed)
    features = _features(block, y, next_input, g)
    logits = F.linear(g.flatten(1), block.weight, block.bias)
    loss = block.local_loss(logits, labels)
    factors = _factors(block, logits, labels, y.shape[2:])
    _multiply_patches(y if block.goodness == "squares" else y.sign_(), factors)
    if block.unit.gate is None:
        _set_gradients(block, x, y)
    else:
        _set_gradients_through_gate(block, x, y)
    return Outcome(loss, features, next_input if propagate else None)


def _branches(block: ASGEBlock, y: Tensor, *, propagate: bool, seed: int | None) -> tuple[Tensor | None, Tensor]:
    """X of the next block and the goodness (B, C, P, P), both from one pass over Y^2 where possible."""
    pool, patches, reduction = block.unit.pool, block.patches, block.reduction
    if block.goodness != "squares":
        g = goodness.patch_energy(at_least_float32(y), patches, reduction)
        return block.propagate(y, seed) if propagate else None, g
    both = propagate and pool > 1 and block.unit.pooling == "rms"
    whole = both and all(side % (pool * patches) == 0 for side in y.shape[2:])
    mean_squares: Tensor | None = None
    energies = []
    for start, part in _slices(y):
        squares = at_least_float32(part).square()
        if both:
            mean_squares = _with_part(mean_squares, F.avg_pool2d(squares, pool), start, len(y))
        if not whole:
            energies.append(goodness.patch_energy(squares, patches, reduction))
        del squares  # gone before the next are made
    if mean_squares is None:
        return block.propagate(y, seed) if propagate else None, _joined(energies)
    if whole:
        energies = [goodness.patch_energy(mean_squares, patches, "mean")]
        if reduction == "sum":
            energies[0] *= y[0, 0].numel() // patches**2
    return block.unit.normalize(root_(mean_squares).to(y.dtype), block.mask(y, seed)), _joined(energies)


def _slices(y: Tensor) -> list[tuple[int, Tensor]]:
    """A few images at a time on the CPU, where their squares then stay in the cache; all of them elsewhere.

    Each part comes with the number of its first image.
    """
    count = len(y) if y.device.type != "cpu" else max(1, SLICE_BYTES // y[:1].nbytes)
    return [(start, y[start : start + count]) for start in range(0, len(y), count)]


def _with_part(whole: Tensor | None, part: Tensor, start: int, images: int) -> Tensor:
    """A map of so many images, with a part of them, from one on; the part itself, if it is all. None is held twice."""
    if len(part) == images:
        return part
    if whole is None:
        shape = (images, *part.shape[1:])
        whole = torch.empty(shape, dtype=part.dtype, device=part.device, memory_format=torch.channels_last)
    whole[start : start + len(part)] = part
    return whole


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class CompiledStep:
    """``fast_step`` by PyTorch's compiler, which makes one pass over a map of the several that are written here.

    Blocks are compiled one by one, at the first batch, for batches of its size: others, such as a smaller last one,
    take ``fast_step`` itself. Sums may be taken in another order: results are the same but for the last digits.

    Args:
        blocks: number of blocks that will call it.
        backend: of ``torch.compile``.
    """

    def __init__(self, blocks: int, backend: str = "inductor") -> None:
        # The compiler keeps a version per block, and would go back to what is not compiled after eight.
        config: Any = importlib.import_module("torch._dynamo").config
        config.recompile_limit = max(config.recompile_limit, 2 * blocks)
        self._compiled = torch.compile(fast_step, dynamic=False, backend=backend)
        self._size: int | None = None
        self._prepared: set[ASGEBlock] = set()

    def __call__(
        self, block: ASGEBlock, x: Tensor, labels: Tensor, *, propagate: bool, seed: int | None = None
    ) -> Outcome:
        """Loss and gradients of a block, as of ``fast_step``."""
        self._size = self._size or len(labels)
        if block not in self._prepared:  # a step that is not compiled makes the constants of its shapes
            self._prepared.add(block)
            fast_step(block, x, labels, propagate=propagate, seed=seed)
        step = self._compiled if len(labels) == self._size else fast_step
        return step(block, x, labels, propagate=propagate, seed=seed)


def _features(block: ASGEBlock, y: Tensor, x: Tensor | None, g: Tensor) -> Tensor:
    """``block.pooled``; the mean of the squares from the goodness (B, C, P, P)."""
    if block.features != "energies" or block.goodness != "squares":
        return block.pooled(y, x)
    height, width = y.shape[2:]
    if block.reduction == "sum":
        return g.sum((2, 3)).div_(height * width)
    if goodness.even(height, width, block.patches):
        return pooled(g)
    return (g * goodness.shares(height, width, block.patches, g)).sum((2, 3))


def _factors(block: ASGEBlock, logits: Tensor, labels: Tensor, size: Sequence[int]) -> Tensor:
    """dL/dY as factors of Y, or of sign(Y), one per patch: (B, C, P, P), from the logits (B, N)."""
    height, width = size
    by_logit = logits.softmax(1).scatter_(1, labels[:, None], block.label_smoothing - 1, reduce="add")
    if block.label_smoothing:
        by_logit -= block.label_smoothing / logits.shape[1]
    mean, even = block.reduction == "mean", goodness.even(height, width, block.patches)
    pixels = height * width // block.patches**2 if mean and even else 1
    by_logit *= (2 if block.goodness == "squares" else 1) / (len(labels) * pixels)
    factors = (by_logit @ block.weight).view(len(labels), -1, block.patches, block.patches)
    return factors.div_(goodness.areas(height, width, block.patches, factors)) if mean and not even else factors


def _multiply_patches(y: Tensor, factors: Tensor) -> None:
    """Multiply every activation (B, C, H, W), in place, by the factor (B, C, P, P) of its patch."""
    height, width = y.shape[2:]
    patches = factors.shape[-1]
    if goodness.even(height, width, patches):
        # (B, C, P, H/P, P, W/P), a view in either memory format
        by_patch = y.unflatten(3, (patches, width // patches)).unflatten(2, (patches, height // patches))
        by_patch *= factors[:, :, :, None, :, None]
        return
    rows, columns = (goodness.patch_of_pixels(side, patches, y.device) for side in (height, width))
    by_patch = factors.permute(0, 2, 3, 1)
    for start, part in _slices(y):
        of_part = by_patch[start : start + len(part)]
        part *= of_part.index_select(2, columns).index_select(1, rows).permute(0, 3, 1, 2)


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
        inside = _sums_inside(gradient, conv, x.shape[2:])
        _assign(unit.gamma, (weight * from_x).sum(0))
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
    """S of an output (B, C, H, W): for each place in the kernel, the sum over pixels that meet the input, (C k k)."""
    total = gradient.permute(0, 2, 3, 1).sum(0, dtype=conv.weight.dtype).flatten(0, 1)
    return (total.T @ _within(conv, size, gradient.shape[2:], total).T).flatten()


def _within(conv: nn.Conv2d, size: Sequence[int], out: Sequence[int], like: Tensor) -> Tensor:
    """(k k, H W): 1 where that place in the kernel, at that pixel of the output, lies within the input. Read only."""
    padding = [int(each) for each in conv.padding]
    axes = tuple(zip(size, out, conv.stride, padding, conv.kernel_size, strict=True))
    return _kept_within(axes, like.dtype, like.device)


@constant
def _kept_within(axes: tuple[tuple[int, int, int, int, int], ...], dtype: torch.dtype, device: torch.device) -> Tensor:
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
