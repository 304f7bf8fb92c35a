"""The losses of local errors (arXiv 1901.06656), by which a block learns from its own activations h.

    pred:  a = V average_pool(h),  L = CE(a, label)      V linear, trained, initially zero
    sim:   s = deviation over space of K * h             K a 3x3 convolution, trained; a linear map where h is flat;
                                                         s = K * h where a map has one pixel or h 3 channels
           R_h = cosines between the centred s of all pairs of the batch,   R_y = those of the labels, one-hot
           L = mean (R_h - R_y)^2

Shapes: B images, C channels, H x W pixels, D units of a flat h, N classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from asge.common.tensors import at_least_float32, in_full_precision, one_hot

Border = Literal["remainder", "zeros"]
COSINE_EPS = 1e-8
FEW_CHANNELS = 3
"""With this many channels or fewer, centring leaves almost nothing of their deviations."""


def read_out_windows(channels: int, height: int, width: int, limit: int) -> tuple[int, int]:
    """Sides of the window that pred averages over: doubled, height first, until at most ``limit`` values are left."""
    window = [1, 1]
    turn = 0

    def left() -> int:
        return channels * math.ceil(height / window[0]) * math.ceil(width / window[1])

    while left() > limit and (window[0] < height or window[1] < width):
        window[turn] *= 2
        turn = 1 - turn
    return window[0], window[1]


def similarity(features: Tensor) -> Tensor:
    """Cosines between all pairs of rows, each centred by its own mean: (B, D) -> (B, B), in float32 at least."""
    features = at_least_float32(features)
    with in_full_precision(features.device):
        centred = features - features.mean(1, keepdim=True)
        normal = F.normalize(centred, eps=COSINE_EPS)
        cosines: Tensor = normal @ normal.T
    return cosines


class PredSignal(nn.Module):
    """Cross-entropy of a linear read-out of the averaged activations.

    Args:
        shape: (C, H, W) of h, or (D,) where it is flat.
        classes: N.
        read_out_size: maximum number of values read.
        border: where windows do not fit a map, they average over the "remainder" at its end, or over a map padded with
            "zeros" on all sides.
    """

    def __init__(self, shape: Sequence[int], classes: int, *, read_out_size: int, border: Border = "remainder") -> None:
        super().__init__()
        features = math.prod(shape)
        self.padding = (0, 0)
        self.window: tuple[int, int] | None = None
        if len(shape) == 3:
            channels, height, width = shape
            self.window = read_out_windows(channels, height, width, read_out_size)
            features = channels * math.ceil(height / self.window[0]) * math.ceil(width / self.window[1])
            if border == "zeros":
                rest = (height % self.window[0], width % self.window[1])
                self.padding = (self.window[0] // 2 if rest[0] else 0, self.window[1] // 2 if rest[1] else 0)
        self.read_out = nn.Linear(features, classes)
        nn.init.zeros_(self.read_out.weight)
        nn.init.zeros_(self.read_out.bias)

    def logits(self, h: Tensor) -> Tensor:
        """a: (B, C, H, W) or (B, D) -> (B, N)."""
        if self.window is not None:
            # With padding, the floor is the same number of windows; without it, the last ones are smaller.
            h = F.avg_pool2d(h, self.window, padding=self.padding, ceil_mode=self.padding == (0, 0))
        logits: Tensor = self.read_out(h.flatten(1))
        return logits

    def forward(self, h: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar."""
        return F.cross_entropy(self.logits(h), labels)


class SimSignal(nn.Module):
    """The similarity loss: samples of one class shall look alike, samples of different classes shall not.

    Args:
        shape: (C, H, W) of h, or (D,) where it is flat.
        classes: N.
        generator: draws the first weights.
    """

    def __init__(self, shape: Sequence[int], classes: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.classes = classes
        width = shape[0]
        self.transform: nn.Conv2d | nn.Linear
        if len(shape) == 3:
            self.transform = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        else:
            self.transform = nn.Linear(width, width, bias=False)
        nn.init.kaiming_uniform_(self.transform.weight, a=math.sqrt(5), generator=generator)

    def forward(self, h: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar."""
        features = self.transform(h)
        features = at_least_float32(features)
        if features.dim() == 4:
            deviates = features.shape[1] > FEW_CHANNELS and features[0, 0].numel() > 1
            features = features.flatten(2).std(2) if deviates else features.flatten(1)
        of_labels = similarity(one_hot(labels, self.classes).to(features.dtype))
        return F.mse_loss(similarity(features), of_labels)


class LocalError(nn.Module):
    """The loss of one block: pred, sim, or their weighted sum.

    Args:
        shape: (C, H, W) of h, or (D,) where it is flat.
        classes: N.
        sim_weight: 0 for pred, 1 for sim; between them for both.
        read_out_size, border: of pred, see ``PredSignal``.
        generator: draws the first weights.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        sim_weight: float,
        read_out_size: int,
        border: Border,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.sim_weight = sim_weight
        self.pred: PredSignal | None = None
        if sim_weight < 1:
            self.pred = PredSignal(shape, classes, read_out_size=read_out_size, border=border)
        self.sim = SimSignal(shape, classes, generator=generator) if sim_weight > 0 else None

    def forward(self, h: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar, of h for one batch and labels (B,) int64."""
        loss = torch.zeros((), device=h.device)
        if self.pred is not None:
            loss = loss + (1 - self.sim_weight) * self.pred(h, labels)
        if self.sim is not None:
            loss = loss + self.sim_weight * self.sim(h, labels)
        return loss
