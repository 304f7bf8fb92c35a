"""Semantic segmentation with gated networks: PSPNet (Zhao et al., CVPR 2017, arXiv 1612.01105).

    features    a dilated ResNet, gated or not: maps of an eighth of the image's size
    pyramid     their averages over 1, 2 x 2, 3 x 3 and 6 x 6 regions, each reduced to a quarter of the channels
    head        all of these: 3 x 3 convolution, then 1 x 1 to the classes, upsampled to the image's size

    mIoU = mean over classes of  both / (predicted + true - both)      pixels, over the whole data set
    L    = CE over the pixels that are not ignored + the losses on the gates

Shapes: B images, C channels, H x W pixels, N classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from baselines.conditional.block import Gating
from baselines.conditional.resnet import GatedResNet, Outcome

IGNORE = 255
"""The label of pixels that are ignored in training and evaluation."""
BINS = (1, 2, 3, 6)
HEAD = 512
DROPOUT = 0.1


class Unit(nn.Module):
    """ReLU(BN(Conv(x))) that keeps the size of maps."""

    def __init__(self, inputs: int, outputs: int, side: int, generator: torch.Generator) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        return F.relu(self.norm(self.conv(x)))


class PSPNet(nn.Module):
    """PSPNet on a ResNet of ``baselines.conditional.resnet``.

    Args:
        name: of the ResNet, see ``baselines.conditional.resnet.architecture``; imagenet-18 to 101.
        classes: N.
        gating, width: of the ResNet, see ``GatedResNet``.
        head: channels of the head.
        generator: draws initial weights, gate noise and dropout.

    Raises:
        ValueError: for an unknown name, or one whose maps would not be an eighth of the image's size.
    """

    def __init__(
        self,
        name: str,
        classes: int,
        *,
        gating: Gating = "none",
        width: float = 1.0,
        head: int = HEAD,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if not name.startswith("imagenet-"):
            raise ValueError(f"a PSPNet needs a ResNet for large images, such as imagenet-18, got {name!r}")
        self._generator = generator
        self.backbone = GatedResNet(name, 1, gating=gating, width=width, dilated=True, generator=generator)
        self.backbone.classifier = nn.Linear(1, 1)  # not used
        channels = self.backbone.channels
        reduced = max(1, channels // len(BINS))
        self.branches = nn.ModuleList(Unit(channels, reduced, 1, generator) for _ in BINS)
        self.merge = Unit(channels + len(BINS) * reduced, head, 3, generator)
        self.classifier = nn.Conv2d(head, classes, 1)
        nn.init.normal_(self.classifier.weight, std=0.01, generator=generator)
        self.classifier.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, images: Tensor, *, skip: bool = True) -> Outcome:
        """Run the network on images (B, C, H, W), at least two of them in training.

        Args:
            images: floating point.
            skip: in evaluation, skip what gates close.

        Returns:
            ``GatedResNet``'s outcome, with logits (B, N, H, W).
        """
        x, outcome = self.backbone.features(images, skip=skip)
        size = x.shape[2:]
        maps = [x]
        for bins, branch in zip(BINS, self._units(), strict=True):
            small = branch(F.adaptive_avg_pool2d(x, bins))
            maps.append(F.interpolate(small, size=size, mode="bilinear", align_corners=False))
        merged = self.merge(torch.cat(maps, dim=1))
        if self.training:
            kept = torch.rand(merged.shape[:2], generator=self._generator) >= DROPOUT
            merged = merged * kept.to(merged.device, merged.dtype)[:, :, None, None] / (1 - DROPOUT)
        logits = self.classifier(merged)
        outcome.logits = F.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=False)
        pyramid = sum(
            bins * bins * branch.conv.weight.numel() for bins, branch in zip(BINS, self._units(), strict=True)
        )
        outcome.macs += pyramid + size.numel() * (self.merge.conv.weight.numel() + self.classifier.weight.numel())
        return outcome

    def _units(self) -> list[Unit]:
        return [branch for branch in self.branches if isinstance(branch, Unit)]


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean cross-entropy over pixels not ignored: logits (B, N, H, W), masks (B, H, W) int64; 0 if there are none."""
    total = F.cross_entropy(logits, masks, ignore_index=IGNORE, reduction="sum")
    return total / (masks != IGNORE).sum().clamp(min=1)


@dataclass
class Confusion:
    """Pixels by true and predicted class, (N, N) int64, added up batch by batch; ignored pixels are left out."""

    counts: Tensor

    @classmethod
    def empty(cls, classes: int) -> Confusion:
        """A matrix of zeros."""
        return cls(torch.zeros(classes, classes, dtype=torch.int64))

    def add(self, predicted: Tensor, masks: Tensor) -> None:
        """Add the counts of predicted and true classes, (B, H, W) int64 each."""
        classes = len(self.counts)
        seen = masks != IGNORE
        pairs = (masks[seen] * classes + predicted[seen]).cpu()
        self.counts += torch.bincount(pairs, minlength=classes * classes).view(classes, classes)

    @property
    def pixel_accuracy(self) -> float:
        """Correctly predicted share of the pixels, per cent; 0 if there are none."""
        return 100 * float(self.counts.diag().sum()) / max(1, int(self.counts.sum()))

    @property
    def mean_iou(self) -> float:
        """Mean intersection over union, per cent, over the classes that occur or are predicted; 0 if there are none."""
        both = self.counts.diag().double()
        either = self.counts.sum(0) + self.counts.sum(1) - self.counts.diag()
        occurring = either > 0
        return 100 * float((both[occurring] / either[occurring]).mean()) if bool(occurring.any()) else 0.0
