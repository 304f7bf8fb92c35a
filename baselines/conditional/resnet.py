"""ResNets with gates on blocks (ConvNet-AIG), on channels (batch-shaping, FBS), or without gates.

``baselines.conditional.block`` defines a block. In evaluation, closed parts are skipped: a block runs on the images
that execute it, and convolutions leave out the channels that no image of the batch opens. Work is counted per image,
gates included. Shapes: B images, C channels, L blocks, N classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from baselines.conditional.block import Block, BottleneckGates, Gating, add_and_rectify, convolution
from baselines.conditional.gates import gate_macs
from baselines.conditional.skipping import of_executed, residual_of_open

IMAGENET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
FIRST_BOTTLENECK = 50


@dataclass(frozen=True)
class Architecture:
    """The shape of a ResNet.

    Attributes:
        stem: channels of the first convolution.
        widths: of the stages.
        blocks: of each stage.
        bottleneck: whether blocks are 1x1, 3x3, 1x1 convolutions, the last four times as wide.
        large: 7x7 stem with stride 2 and a max pool, as for ImageNet; else a 3x3 stem.
    """

    stem: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    bottleneck: bool
    large: bool


def architecture(name: str, width: float = 1.0) -> Architecture:
    """``cifar-20`` (any depth 6n + 2) or ``imagenet-50`` (18, 34, 50, 101), ``width`` times as wide.

    Raises:
        ValueError: for another name.
    """
    family, _, number = name.partition("-")
    depth = int(number) if number.isdecimal() else 0

    def widths(base: int, stages: int) -> tuple[int, ...]:
        return tuple(max(1, round(width * base * 2**stage)) for stage in range(stages))

    if family == "cifar" and depth >= 8 and depth % 6 == 2:
        of_stages = widths(16, 3)
        return Architecture(of_stages[0], of_stages, ((depth - 2) // 6,) * 3, bottleneck=False, large=False)
    if family == "imagenet" and depth in IMAGENET:
        of_stages = widths(64, 4)
        return Architecture(of_stages[0], of_stages, IMAGENET[depth], bottleneck=depth >= FIRST_BOTTLENECK, large=True)
    depths = ", ".join(str(each) for each in IMAGENET)
    raise ValueError(f"architecture must be cifar-DEPTH with depth 6n + 2, or imagenet- and {depths}; got {name!r}")


def between_convolutions(gating: object) -> str:
    """Describe, in words, the layers between the convolutions of such a ResNet."""
    gates = {
        "blocks": ", gates on blocks",
        "channels": ", gates on channels",
        "saliency": ", the most salient channels",
    }
    return f"BatchNorm, ReLU, shortcuts{gates.get(str(gating), '')}"


@dataclass
class Outcome:
    """Results of a forward pass.

    Attributes:
        logits: (B, N).
        executed: share of each block's gates that are open: z for block gates, 1 without gates, (B, L).
        gates: z, (B, 1), or g, (B, G), of every gated block: the factors of its output.
        soft_gates: P(open) or saliency of every block's channel gates, (B, G) each.
        macs: multiply-accumulate operations per image, gates included, (B,) float64.
    """

    logits: Tensor
    executed: Tensor
    gates: list[Tensor]
    soft_gates: list[Tensor]
    macs: Tensor


@dataclass
class _Run:
    """Results of one block: its output, its channels' means where known, and gates and work as in ``Outcome``."""

    output: Tensor
    executed: Tensor
    work: Tensor
    gates: Tensor | None = None
    soft: Tensor | None = None
    means: Tensor | None = None


class GatedResNet(nn.Module):
    """A ResNet whose blocks, or channels, are gated separately for each image.

    Args:
        name: see ``architecture``.
        classes: N.
        in_channels: of the images.
        gating: "none", "blocks", or on channels: "channels" (binary concrete) or "saliency" (FBS).
        targets: execution rate of each block; a block with target 1 always runs and has no gate. None: all have gates.
        width: multiple of the published width.
        dilated: keep the size of maps in the last two stages, whose convolutions are dilated by 2 and 4 instead.
        keep: share of channels that a saliency gate leaves open.
        bottleneck_gates: gating "channels" of a bottleneck: after its 3x3 convolution, or after its first 1x1 too.
        generator: draws initial weights and noise.

    Attributes:
        channels: C' of the last block's map.

    Raises:
        ValueError: for an unknown name or a wrong number of targets.
    """

    def __init__(
        self,
        name: str,
        classes: int,
        *,
        in_channels: int = 3,
        gating: Gating = "none",
        targets: Sequence[float] | None = None,
        width: float = 1.0,
        dilated: bool = False,
        keep: float = 1.0,
        bottleneck_gates: BottleneckGates = "3x3",
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        made = architecture(name, width)
        count = sum(made.blocks)
        if targets is not None and len(targets) != count:
            raise ValueError(f"{name} has {count} blocks, got {len(targets)} targets")
        self.large = made.large
        self.stem = convolution(in_channels, made.stem, 7 if made.large else 3, 2 if made.large else 1, generator)
        self.stem_norm = nn.BatchNorm2d(made.stem)
        self.blocks: list[Block] = []
        channels = made.stem
        for stage, (inner, number) in enumerate(zip(made.widths, made.blocks, strict=True)):
            distance = max(0, stage + 3 - len(made.widths)) if dilated else 0  # 1 and 2 in the last two stages
            for place in range(number):
                always = targets is not None and targets[len(self.blocks)] >= 1
                block = Block(
                    channels,
                    inner,
                    stride=2 if stage > 0 and place == 0 and distance == 0 else 1,
                    dilation=2**distance,
                    bottleneck=made.bottleneck,
                    gating="none" if always else gating,
                    keep=keep,
                    bottleneck_gates=bottleneck_gates,
                    generator=generator,
                )
                self.blocks.append(block)
                channels = block.out_channels
        self._blocks = nn.ModuleList(self.blocks)
        self.channels = channels
        self.classifier = nn.Linear(channels, classes)
        nn.init.normal_(self.classifier.weight, std=0.01, generator=generator)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor, *, skip: bool = True) -> Outcome:
        """Run the network on images (B, C, H, W).

        Args:
            images: floating point.
            skip: in evaluation, skip closed parts; else compute everything and multiply by the gates, as in training.
        """
        x, outcome = self.features(images, skip=skip)
        outcome.logits = self.classifier(x.mean((2, 3)))
        outcome.macs += self.classifier.weight.numel()
        return outcome

    def features(self, images: Tensor, *, skip: bool = True) -> tuple[Tensor, Outcome]:
        """The last block's map, (B, C', H', W'), and the outcome of the pass without the classifier.

        Args:
            images: as for ``forward``.
            skip: see there.
        """
        x = F.relu(self.stem_norm(self.stem(images)))
        macs = _macs(self.stem, x)
        if self.large:
            x = F.max_pool2d(x, 3, 2, 1)
        total = torch.full((len(images),), float(macs), device=images.device, dtype=torch.float64)
        runs: list[_Run] = []
        means = None
        for block in self.blocks:
            runs.append(_run(block, x, means, skip=skip and not self.training))
            x, means = runs[-1].output, runs[-1].means
            total += runs[-1].work
        executed = torch.stack([run.executed for run in runs], dim=1)
        gates = [run.gates for run in runs if run.gates is not None]
        soft = [run.soft for run in runs if run.soft is not None]
        return x, Outcome(images.new_empty(0), executed, gates, soft, total)


def _run(block: Block, x: Tensor, means: Tensor | None, *, skip: bool) -> _Run:
    batch = len(x)
    through = x if block.shortcut is None else block.shortcut(x)
    work = torch.zeros(batch, device=x.device, dtype=torch.float64)
    if block.shortcut is not None:
        work += float(_macs(block.shortcut[0], through))
    parts = _parts(block, x, through)
    if block.block_gate is not None:
        if skip and means is None:
            means = x.mean((2, 3))
        z = block.block_gate(x, means)
        work += gate_macs(block.block_gate) + z.detach().double() * sum(parts)
        if skip:
            output, means = of_executed(block, x, through, z.nonzero()[:, 0], means)
        else:
            output = add_and_rectify(through, z[:, None, None, None] * block.residual(x))
        return _Run(output, z, work, gates=z[:, None], means=means)
    if block.channel_gate is not None:
        logits = block.channel_gate.logits(x)
        gates = block.channel_gate.sample(logits)
        work += gate_macs(block.channel_gate) + _work_of_open(block, gates.detach() > 0, parts)
        residual = residual_of_open(block, x, gates, through) if skip else block.residual(x, gates)
        executed = (gates.detach() > 0).double().mean(1).to(x.dtype)
        return _Run(add_and_rectify(through, residual), executed, work, gates, block.channel_gate.soft(logits))
    work += sum(parts)
    return _Run(add_and_rectify(through, block.residual(x)), x.new_ones(batch), work)


def _work_of_open(block: Block, opened: Tensor, parts: Sequence[float]) -> Tensor:
    """Work of the residual branch, (B,), with only the open ones (B, G) of its gated channels."""
    everything = opened.new_ones(len(opened), dtype=torch.float64)
    inner = [everything if own is None else own.double().mean(1) for own in block.by_convolution(opened)]
    shares = [everything, *inner, everything]
    work = torch.zeros_like(everything)
    for part, (before, after) in zip(parts, itertools.pairwise(shares), strict=True):
        work += part * before * after
    return work


def _parts(block: Block, x: Tensor, out: Tensor) -> list[float]:
    """Multiply-accumulate operations of each convolution of the residual branch, per image."""
    sizes = [out.shape[2:].numel()] * len(block.convolutions)
    if len(sizes) > 2:  # a bottleneck's first convolution has no stride
        sizes[0] = x.shape[2:].numel()
    return [float(conv.weight.numel() * size) for conv, size in zip(block.convolutions, sizes, strict=True)]


def _macs(conv: nn.Module, out: Tensor) -> int:
    """Multiply-accumulate operations of a convolution without groups whose output is ``out``, per image."""
    weight = conv.weight
    assert isinstance(weight, Tensor)  # noqa: S101
    return weight.numel() * out.shape[2:].numel()
