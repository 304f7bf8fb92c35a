"""Layer-parallel training: the blocks of a network in several processes, each with a stage of consecutive blocks.

No block waits for a backward pass. As soon as a stage has sent its last X, it takes the next batch:

    rank 0    blocks 1 .. k        batch t + 1    images from the loader
    rank 1    blocks k + 1 .. L    batch t        X, labels and the features of rank 0's blocks, from rank 0

Every block sees the same inputs in the same order as in sequential training: the trained weights are the same.
For the strategy `best`, call ``asge.strategies.choose_best_layer`` after ``gather``. There are no checkpoints. Run it
under ``torchrun``, after ``torch.distributed.init_process_group``: see docs/examples/layer_parallel.py.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor

from asge.common.types import TaskShape, TrainingBudget
from asge.learner import Classifiers, build_network
from asge.network import Layer, parse_plan
from asge.settings import ASGESettings
from asge.stage import Stage, dropout_seeds, scheduled
from asge.whitening import Whitening

AHEAD = 2
"""Batches that may be in flight from one stage to the next."""
END = -1
"""Sent instead of a batch size after the last batch."""


def balanced(layers: Sequence[Layer], stages: int) -> list[range]:
    """Split layers into consecutive stages so that the most expensive stage has as few multiplications as possible.

    Raises:
        ValueError: if there are fewer layers than stages.
    """
    if not 1 <= stages <= len(layers):
        raise ValueError(f"{len(layers)} layers make from 1 to {len(layers)} stages, not {stages}")
    work = [layer.in_channels * layer.channels * layer.height * layer.width for layer in layers]

    def slowest(bounds: tuple[int, ...]) -> int:
        return max(sum(work[start:end]) for start, end in itertools.pairwise(bounds))

    inner = itertools.combinations(range(1, len(layers)), stages - 1)
    best = min(((0, *cuts, len(layers)) for cuts in inner), key=slowest)
    return [range(start, end) for start, end in itertools.pairwise(best)]


class LayerParallelTrainer:
    """This process's stage of an ASGE network; every process of the group makes one with equal arguments.

    Args:
        task, settings, budget: as for ``asge.ASGELearner``; the classifiers train along.
        device: of this process.
        generator: in the same state in every process, so that all draw the same network.

    Attributes:
        network: the whole network; until ``gather``, only this stage's blocks are trained, and on ``device``.
        numbers: indices of this stage's blocks, counted from 0.

    Raises:
        ValueError: if there are more processes than blocks, or not all blocks and classifiers train in every epoch.
    """

    def __init__(
        self,
        task: TaskShape,
        settings: ASGESettings,
        budget: TrainingBudget,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        if settings.classifier_epochs or settings.blocks != "trained":
            raise ValueError(
                "layer-parallel training trains blocks and classifiers: classifier_epochs must be 0, blocks 'trained'"
            )
        self._rank, self._stages = dist.get_rank(), dist.get_world_size()
        self._device = device
        self.network = build_network(task, settings, generator)
        layers = parse_plan(settings.plan, task.shape)
        self._parts = balanced(layers, self._stages)
        self.numbers = self._parts[self._rank]
        blocks = [self.network.blocks[number].to(device) for number in self.numbers]
        for block in blocks:
            block.to(memory_format=torch.channels_last)
        self._generator = generator
        self._whitening = Whitening(self.network, settings.first_layer)
        self._stage = Stage(
            blocks,
            settings,
            step=settings.step,
            epochs=budget.epochs,
            steps_per_epoch=budget.steps_per_epoch,
        )
        self._is_last = self._rank == self._stages - 1
        if self._is_last:
            self.network.last.to(device)
            self.network.fusion.to(device)
            self._classifiers = Classifiers(
                self.network,
                partial(scheduled, settings=settings, epochs=budget.epochs, steps_per_epoch=budget.steps_per_epoch),
            )
        before = layers[: self.numbers[0]]
        self._input_shape = before[-1].output if before else task.shape
        self._features_before = [layer.channels for layer in before]
        self._sent: deque[tuple[list[dist.Work], list[Tensor]]] = deque()

    def train_epoch(self, batches: Iterable[tuple[Tensor, Tensor]] | None = None) -> dict[str, float]:
        """Train this stage for one epoch.

        Args:
            batches: images (B, C, H, W) and labels (B,) in the first process; None in the others.

        Returns:
            Mean losses of this stage's blocks (``layer1`` ..); in the last process also of the classifiers.

        Raises:
            ValueError: if the first process gets no batches, or another one gets some.
        """
        if (batches is None) != (self._rank > 0):
            raise ValueError(f"the first process gets the batches, all others None; this is process {self._rank}")
        totals: dict[str, Tensor] = {}
        steps = 0
        for x, labels, before in self._received() if batches is None else self._loaded(batches):
            seeds = dropout_seeds(self.network.blocks, self._generator)  # of all blocks: the same in every process
            own = seeds and [seeds[number] for number in self.numbers]
            outcome = self._stage.train_step(x, labels, propagate=not self._is_last, seeds=own)
            features = [*before, *outcome.features]
            losses = {f"layer{number + 1}": loss for number, loss in zip(self.numbers, outcome.losses, strict=True)}
            if outcome.next_input is not None:
                self._send(outcome.next_input, labels, features)
            else:
                losses |= self._classifiers.train_step(features, labels)
            for name, loss in losses.items():
                totals[name] = totals[name] + loss if name in totals else loss.clone()
            steps += 1
        self._end()
        return {name: float(total) / steps for name, total in totals.items()}

    def gather(self) -> None:
        """Give every process the whole trained network, on its device."""
        for rank, numbers in enumerate(self._parts):
            for number in numbers:
                self._share(self.network.blocks[number], rank)
        for classifier in (self.network.last, self.network.fusion):
            self._share(classifier, self._stages - 1)

    def _share(self, module: torch.nn.Module, rank: int) -> None:
        module.to(self._device)
        for parameter in module.parameters():
            values = parameter.detach().contiguous()
            dist.broadcast(values, rank)
            parameter.data.copy_(values)

    def _loaded(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterable[tuple[Tensor, Tensor, list[Tensor]]]:
        for images, labels in batches:
            x = images.to(self._device, memory_format=torch.channels_last)
            self._whitening.see(x)
            yield x, labels.to(self._device), []

    def _received(self) -> Iterable[tuple[Tensor, Tensor, list[Tensor]]]:
        """X, labels and the features of all earlier blocks, batch by batch, until the previous stage sends ``END``."""
        size = torch.empty(1, dtype=torch.int64, device=self._device)
        while True:
            dist.recv(size, self._rank - 1)
            count = int(size)
            if count == END:
                return
            channels, height, width = self._input_shape
            # Pixels by channels, contiguous, is the memory layout of a channels_last tensor.
            x = torch.empty(count, height, width, channels, device=self._device)
            labels = torch.empty(count, dtype=torch.int64, device=self._device)
            features = torch.empty(count, sum(self._features_before), device=self._device)
            for tensor in (x, labels, features):
                dist.recv(tensor, self._rank - 1)
            yield x.permute(0, 3, 1, 2), labels, list(features.split(self._features_before, dim=1))

    def _send(self, x: Tensor, labels: Tensor, features: list[Tensor]) -> None:
        """Send to the next stage; on a CPU, wait only when it is ``AHEAD`` batches behind."""
        size = torch.tensor([len(labels)], device=self._device)
        # Under autocast the features have its dtype; the stage that receives expects float32.
        tensors = [size, x.permute(0, 2, 3, 1).float().contiguous(), labels, torch.cat(features, dim=1).float()]
        works = [dist.isend(tensor, self._rank + 1) for tensor in tensors]
        self._sent.append(([work for work in works if work is not None], tensors))
        while len(self._sent) > AHEAD:
            self._await_oldest()

    def _await_oldest(self) -> None:
        works, _ = self._sent.popleft()
        for work in works:
            work.wait()

    def _end(self) -> None:
        if not self._is_last:
            dist.send(torch.tensor([END], device=self._device), self._rank + 1)
        while self._sent:
            self._await_oldest()
