"""The three prediction strategies of ASGE (arXiv 2509.12394).

last    one linear layer on the globally average-pooled Y_L: fewest classifier parameters
fusion  one linear layer on the pooled Y_2 .. Y_L, concatenated (the first layer is too inaccurate to help)
best    a_l* of the layer l* that was most accurate on validation data: no classifier, and the layers after l*
        are not run

The blocks' ``features`` say what last and fusion read: Y_l as above, its squares (this project's default), or X_{l+1},
as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from asge.common.best_layer import most_accurate_layer
from asge.common.types import Examination
from asge.network import ASGENetwork

STRATEGIES = ("last", "fusion", "best")


def last_logits(network: ASGENetwork, features: list[Tensor]) -> Tensor:
    """(B, N) from the pooled features (B, C_l) of all layers, or of the last alone."""
    logits: Tensor = network.last(features[-1])
    return logits


def fusion_logits(network: ASGENetwork, features: list[Tensor]) -> Tensor:
    """(B, N) from the pooled features (B, C_l) of all L layers; the first is left out."""
    logits: Tensor = network.fusion(torch.cat(features[1:], dim=1))
    return logits


@torch.no_grad()
def predict(network: ASGENetwork, images: Tensor, strategy: str) -> Tensor:
    """Logits (B, N) for images (B, C, H, W); runs only the layers and classifiers that the strategy needs.

    Raises:
        ValueError: for an unknown strategy.
    """
    if strategy == "best":
        depth = network.best_layer + 1
        return network.blocks[depth - 1].local_logits(_final_activation(network, images, depth))
    if strategy == "last":
        final = _final_activation(network, images, len(network.blocks))
        block = network.blocks[-1]
        return last_logits(network, [block.pooled(final, block.propagate(final) if _propagates(network) else None)])
    if strategy == "fusion":
        return fusion_logits(network, features(network, images))
    raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, got {strategy!r}")


@torch.no_grad()
def features(network: ASGENetwork, images: Tensor) -> list[Tensor]:
    """The pooled features (B, C_l) of all L layers, from which `last` and `fusion` predict."""
    return [block.pooled(y, x) for block, (y, x) in zip(network.blocks, _layers(network, images), strict=True)]


@torch.no_grad()
def layer_logits(network: ASGENetwork, images: Tensor) -> list[Tensor]:
    """Every layer's own logits a_l (B, N)."""
    outputs = network.activations(images)
    return [block.local_logits(y) for block, y in zip(network.blocks, outputs, strict=True)]


@torch.no_grad()
def layer_goodness(network: ASGENetwork, images: Tensor) -> list[Tensor]:
    """Mean of Y_l^2 over images, channels and space, a scalar per layer."""
    return [_mean_square(y) for y in network.activations(images)]


@torch.no_grad()
def examine(network: ASGENetwork, images: Tensor) -> Examination:
    """Logits of all strategies and layers, and the mean of Y_l^2, from a single forward pass."""
    by_layer, seen, goodness = [], [], []
    for block, (y, x) in zip(network.blocks, _layers(network, images), strict=True):
        by_layer.append(block.local_logits(y))
        seen.append(block.pooled(y, x))
        goodness.append(_mean_square(y))
    by_strategy = {
        "last": last_logits(network, seen),
        "fusion": fusion_logits(network, seen),
        "best": by_layer[network.best_layer],
    }
    return Examination(by_strategy, by_layer, goodness)


def choose_best_layer(network: ASGENetwork, validation: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Set l*, the layer whose own logits are most accurate on validation data (the deepest one in a tie).

    Args:
        network: its ``best_layer`` is set.
        validation: batches of images (B, C, H, W) and labels (B,); never test data.
    """

    def by_layer(images: Tensor) -> list[Tensor]:
        return layer_logits(network, images.contiguous(memory_format=torch.channels_last))

    network.best_layer = most_accurate_layer(by_layer, validation)


def parameters(network: ASGENetwork, strategy: str) -> Iterator[Tensor]:
    """The tensors that a strategy predicts with, the fixed projection of `best` included."""
    depth = network.best_layer + 1 if strategy == "best" else len(network.blocks)
    for block in network.blocks[:depth]:
        yield from block.parameters()
    if strategy == "best":
        yield from (network.blocks[depth - 1].weight, network.blocks[depth - 1].bias)
    else:
        classifier: nn.Linear = getattr(network, strategy)
        yield from classifier.parameters()


def _layers(network: ASGENetwork, images: Tensor) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Y_l of all L layers, each with X_{l+1} where features are made of it."""
    return network.layers(images) if _propagates(network) else ((y, None) for y in network.activations(images))


def _propagates(network: ASGENetwork) -> bool:
    """Whether features are made of X_{l+1}."""
    return network.blocks[-1].features == "propagated"


def _mean_square(y: Tensor) -> Tensor:
    return y.square().mean()


def _final_activation(network: ASGENetwork, images: Tensor, depth: int) -> Tensor:
    activations = network.activations(images, depth)
    final = next(activations)
    for y in activations:
        final = y
    return final
