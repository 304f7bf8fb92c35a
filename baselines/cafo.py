"""CaFo, the cascaded forward algorithm: random blocks, each with a trained classifier (Zhao et al., arXiv 2303.09728).

    block l:  x_l = BatchNorm(MaxPool_2(ReLU(Conv(x_{l-1}))))      Conv drawn once, never trained
              a_l = V_l vec(x_l),  L_l = CE(a_l, label)            V_l trained, without a bias, initially zero
    sum       adds the probabilities softmax(a_l) of all blocks
    last      a_L

As in github.com/Graph-ZKY/CaFo at b2cccf3, whose loss "CE" the published 67.43 % of CIFAR-10 are of. It trains a
block's classifier on all images at once, 5,000 times, before it comes to the next block; here all of them see a batch
at a time. BatchNorm has no trained parameters of effect: gamma and beta stay 1 and 0, and predictions use the running
statistics. Its other losses (squares in closed form, sparsemax) and its trained blocks are left out. Shapes: B images,
C channels, H x W pixels, N classes, L blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge, MinLen
from torch import Tensor, nn

from asge.common.optimisers import (
    LearningRate,
    Momentum,
    OptimiserSetting,
    ScheduledOptimiser,
    ScheduleSetting,
    WeightDecay,
    optimiser_in_words,
)
from asge.common.settings import settings_class
from asge.common.types import Examination, TaskShape, TrainingBudget

BATCH_NORM_EPS = 1e-4


@settings_class
class CaFoSettings:
    """Settings of CaFo.

    Attributes:
        channels: of each block; every block halves the size of its map.
        optimiser, learning_rate, weight_decay, momentum, schedule: see ``asge.common.optimisers``; momentum is SGD's.
    """

    channels: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (32, 128, 512)
    optimiser: OptimiserSetting = "adam"
    learning_rate: LearningRate = 1e-3
    weight_decay: WeightDecay = 0.0
    momentum: Momentum = 0.9
    schedule: ScheduleSetting = "one-cycle"


class RandomBlock(nn.Module):
    """A block that is never trained, and its classifier.

    Args:
        shape: (C, H, W) of its input.
        channels: of its output.
        classes: N.
        generator: draws the convolution.

    Attributes:
        output: (C', H', W').
    """

    def __init__(self, shape: tuple[int, int, int], channels: int, classes: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.conv = nn.Conv2d(shape[0], channels, kernel_size=3, padding=1)
        nn.init.kaiming_uniform_(self.conv.weight, a=math.sqrt(5), generator=generator)
        bound = 1 / math.sqrt(9 * shape[0])
        self.conv.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound, generator=generator))
        self.conv.requires_grad_(requires_grad=False)
        self.norm = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS, affine=False)
        self.output = (channels, shape[1] // 2, shape[2] // 2)
        self.classifier = nn.Linear(math.prod(self.output), classes, bias=False)
        nn.init.zeros_(self.classifier.weight)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """X of the next block: (B, C, H, W) -> (B, C', H', W')."""
        out: Tensor = self.norm(F.relu(F.max_pool2d(self.conv(x), 2), inplace=True))
        return out

    def logits(self, x: Tensor) -> Tensor:
        """A from the block's output, (B, N)."""
        logits: Tensor = self.classifier(x.flatten(1))
        return logits


class CaFoLearner:
    """Trains the classifiers of random blocks."""

    strategies = ("sum", "last")

    def __init__(
        self,
        task: TaskShape,
        settings: CaFoSettings,
        budget: TrainingBudget,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        self.blocks: list[RandomBlock] = []
        shape = task.shape
        for channels in settings.channels:
            if min(shape[1:]) < 2:
                count, (_, height, width) = len(settings.channels), task.shape
                raise ValueError(f"{count} blocks pool images of {height} x {width} pixels to nothing")
            self.blocks.append(RandomBlock(shape, channels, task.classes, generator=generator))
            shape = self.blocks[-1].output
        self._modules = nn.ModuleList(self.blocks).to(device).to(memory_format=torch.channels_last)
        self.on_layer: Callable[[], None] | None = None
        trained = [parameter for block in self.blocks for parameter in block.classifier.parameters()]
        self._optimiser = ScheduledOptimiser(trained, settings, budget.epochs * budget.steps_per_epoch)

    def begin_epoch(self, epoch: int) -> None:
        """Nothing to do: the schedule counts steps."""

    def train_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One step of every classifier on images (B, C, H, W) float and labels (B,) int64.

        Returns:
            Detached scalar losses ``layer1`` .. ``layerL``.
        """
        self._modules.train()
        self._optimiser.zero_grad()
        losses: dict[str, Tensor] = {}
        x = images.contiguous(memory_format=torch.channels_last)
        for index, block in enumerate(self.blocks):
            x = block(x)
            loss = F.cross_entropy(block.logits(x), labels)
            loss.backward()
            losses[f"layer{index + 1}"] = loss.detach()
            if self.on_layer is not None:
                self.on_layer()
        self._optimiser.step()
        return losses

    def finish(self, validation: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Nothing to choose."""

    @torch.no_grad()
    def predict(self, images: Tensor, strategy: str) -> Tensor:
        """Logits (B, N): of the last block (`last`); logarithms of the mean of all blocks' probabilities (`sum`)."""
        if strategy == "sum":
            return _summed(self.layer_logits(images))
        if strategy == "last":
            for x in self._outputs(images):
                final = x
            return self.blocks[-1].logits(final)
        raise ValueError(f"strategy must be one of {', '.join(self.strategies)}, got {strategy!r}")

    @torch.no_grad()
    def layer_logits(self, images: Tensor) -> list[Tensor]:
        """A of every block, (B, N) each."""
        return [block.logits(x) for block, x in zip(self.blocks, self._outputs(images), strict=True)]

    @torch.no_grad()
    def examine(self, images: Tensor) -> Examination:
        """Results of ``predict`` and ``layer_logits`` from a single forward pass."""
        layers = self.layer_logits(images)
        return Examination({"sum": _summed(layers), "last": layers[-1]}, layers, [])

    def parameters(self, strategy: str | None = None) -> Iterator[Tensor]:
        """The tensors that a strategy predicts with, fixed ones too; without a strategy, all trained tensors."""
        for index, block in enumerate(self.blocks):
            if strategy is not None:
                yield from block.conv.parameters()
            if strategy != "last" or index + 1 == len(self.blocks):
                yield from block.classifier.parameters()

    def state_dict(self) -> dict[str, Any]:
        """Blocks, classifiers, optimiser and schedule."""
        return {"modules": self._modules.state_dict(), "optimiser": self._optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a ``state_dict``."""
        self._modules.load_state_dict(state["modules"])
        self._optimiser.load_state_dict(state["optimiser"])

    def _outputs(self, images: Tensor) -> Iterator[Tensor]:
        """The output of every block, one at a time."""
        self._modules.eval()
        x = images.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x)
            yield x


def _summed(layers: Sequence[Tensor]) -> Tensor:
    return torch.stack([logits.softmax(1) for logits in layers]).mean(0).log()


class CaFo:
    """The method as the harness registers it."""

    Settings: ClassVar[type[CaFoSettings]] = CaFoSettings
    strategies: ClassVar[tuple[str, ...]] = CaFoLearner.strategies
    build: ClassVar[type[CaFoLearner]] = CaFoLearner
    small: ClassVar[Sequence[Mapping[str, Any]]] = ({"channels": [8, 16]},)
    optimiser = staticmethod(optimiser_in_words)

    @staticmethod
    def published(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Rows of published.csv: three blocks."""
        return [("CaFo", "3-layer CNN")] if list(settings.get("channels", ())) == [32, 128, 512] else []

    @staticmethod
    def between(settings: Mapping[str, Any]) -> str:  # noqa: ARG004
        """Describe, in words, the layers between the convolutions."""
        return "ReLU, max pooling, BatchNorm"
