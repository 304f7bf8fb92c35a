"""Work of predictions that cost more for some images than for others."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from bench.methods import Conditional, Learner
from bench.records import WorkRecord

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@torch.no_grad()
def executed(learner: Learner, batches: Iterable[tuple[Tensor, Tensor]]) -> WorkRecord | None:
    """Work of a learner on batches of images (B, C, H, W) and labels (B,); None if it is the same for all images.

    Whether a prediction is right is judged by the learner's first strategy.
    """
    if not isinstance(learner, Conditional):
        return None
    macs, layers, labels, right = [], [], [], []
    for images, of_images in batches:
        macs.append(learner.executed_macs(images).double().cpu())
        layers.append(learner.executed_layers(images).double().cpu())
        labels.append(of_images.cpu())
        right.append((learner.predict(images, learner.strategies[0]).argmax(1) == of_images).cpu())
    return summary(torch.cat(macs), torch.cat(layers), torch.cat(labels), torch.cat(right))


def summary(macs: Tensor, layers: Tensor, labels: Tensor, right: Tensor) -> WorkRecord:
    """Summarise N images: work (N,), executed shares (N, L), labels (N,), right predictions (N,) bool."""

    def mean(chosen: Tensor) -> float | None:
        return float(macs[chosen].mean()) if bool(chosen.any()) else None

    classes = [labels == label for label in range(int(labels.max()) + 1)]
    return WorkRecord(
        macs=float(macs.mean()),
        macs_deviation=float(macs.std(correction=0)),
        macs_quantiles=[float(value) for value in macs.quantile(torch.tensor(QUANTILES, dtype=macs.dtype))],
        macs_by_class=[mean(chosen) for chosen in classes],
        macs_of_right=mean(right),
        macs_of_wrong=mean(~right),
        layers=layers.mean(0).tolist(),
        layers_by_class=[layers[chosen].mean(0).tolist() if bool(chosen.any()) else [] for chosen in classes],
    )
