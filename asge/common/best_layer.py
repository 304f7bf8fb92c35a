"""The choice of the layer that predicts best, for methods whose layers each predict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor


@torch.no_grad()
def most_accurate_layer(
    layer_logits: Callable[[Tensor], list[Tensor]], validation: Iterable[tuple[Tensor, Tensor]]
) -> int:
    """The index of the layer whose own logits are most accurate on validation data, the deepest one in a tie.

    Args:
        layer_logits: images (B, C, H, W) -> logits (B, N) of every layer, first to last.
        validation: batches of images and labels (B,); never test data.
    """
    correct = torch.zeros(1, dtype=torch.int64)
    for images, labels in validation:
        correct = correct + torch.stack([(logits.argmax(1) == labels).sum() for logits in layer_logits(images)]).cpu()
    return most_accurate(correct.tolist())


def most_accurate(accuracies: Sequence[float]) -> int:
    """The index of the best of the layers' accuracies, first layer to last; the deepest one in a tie."""
    return max(range(len(accuracies)), key=lambda layer: (accuracies[layer], layer))
