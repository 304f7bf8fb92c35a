"""A block of VGG networks with batch normalisation, as in Nøkland & Eidnes (ICML 2019, arXiv 1901.06656).

    h = act(BatchNorm(Conv(x)))      or Linear, in the hidden layers at the end
    next x = MaxPool(Dropout(h))     dropout takes whole channels; pool where the plan says M

Where a batch has only one value per channel, the running statistics normalise it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge, Lt
from torch import Tensor, nn

from asge.layers.pooling import Pooling, pool2d

Activation = Literal["relu", "leaky-relu"]
Dropout = Annotated[float, Ge(0), Lt(1)]
LEAK = 0.01


class VGGBlock(nn.Module):
    """A convolution or linear layer with its normalisation and activation, and the layers before the next block.

    Args:
        transform: a convolution or a linear layer; its parameters are initialised here.
        norm: batch normalisation of its outputs.
        pool: side of the pooling window after the block; 1 for none.
        pooling: kind of pooling.
        activation: "relu", or "leaky-relu" with a slope of 0.01.
        dropout: probability of dropping a channel (of a linear layer: a unit) on its way to the next block.
        gate: of the input's channels, before a convolution, see ``asge.gating``; None for none.
        generator: draws initial weights, and later dropout.
    """

    def __init__(
        self,
        transform: nn.Conv2d | nn.Linear,
        norm: nn.BatchNorm2d | nn.BatchNorm1d,
        *,
        pool: int = 1,
        pooling: Pooling = "max",
        activation: Activation = "relu",
        dropout: float = 0.0,
        gate: nn.Module | None = None,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.gate = gate
        self.transform = transform
        self.norm = norm
        nn.init.kaiming_normal_(transform.weight, nonlinearity="relu", generator=generator)
        assert transform.bias is not None  # noqa: S101 - for the type checker: both kinds are made with one
        nn.init.zeros_(transform.bias)
        self.pool = pool
        self.pooling: Pooling = pooling
        self._slope = LEAK if activation == "leaky-relu" else 0.0
        self._dropout = dropout
        self._generator = generator

    def activate(self, x: Tensor) -> Tensor:
        """h: (B, C, H, W) -> (B, C', H, W), or (B, D) -> (B, D')."""
        if isinstance(self.transform, nn.Linear):
            x = x.flatten(1)
        elif self.gate is not None:
            x = self.gate(x)
        return F.leaky_relu(self._normalise(self.transform(x)), self._slope, inplace=True)

    def _normalise(self, z: Tensor) -> Tensor:
        if self.training and z.numel() == z.shape[1]:  # one value per channel has no deviation
            norm = self.norm
            return F.batch_norm(z, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        normal: Tensor = self.norm(z)
        return normal

    def propagate(self, h: Tensor) -> Tensor:
        """The next block's x; channels are dropped only in training mode."""
        if self.training and self._dropout > 0:
            kept = torch.rand(h.shape[:2], generator=self._generator) >= self._dropout
            factor = kept.to(h.device, h.dtype) / (1 - self._dropout)
            h = h * factor.view(*h.shape[:2], *(1,) * (h.dim() - 2))
        return pool2d(h, self.pool, self.pooling) if self.pool > 1 else h
