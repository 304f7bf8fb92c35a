"""Layer-parallel training: the blocks of a network in several processes, each with a stage of consecutive blocks.

No block waits for a backward pass. As soon as a stage has sent its last X, it takes the next batch:

    rank 0    blocks 1 .. k        batch t + 1    images from the loader
    rank 1    blocks k + 1 .. L    batch t        X, labels and the features of rank 0's blocks, from rank 0

Every block sees the same inputs in the same order as in sequential training: the trained weights are the same. All
processes know the sizes of all batches, so that no step has to read one: the host never waits for a device within an
epoch. Receiving a batch begins ``AHEAD`` batches before it is needed.

For the strategy `best`, call ``asge.strategies.choose_best_layer`` after ``gather``. Run it under ``torchrun``, after
``torch.distributed.init_process_group``: see docs/examples/layer_parallel.py.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

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
TIMED_STEPS = 5
"""Steps of which the median counts as a block's time."""


def multiplications(layers: Sequence[Layer]) -> list[float]:
    """What each layer's convolution multiplies, for an image."""
    return [9.0 * layer.in_channels * layer.channels * layer.height * layer.width for layer in layers]


def bound(work: Sequence[float], stages: int) -> float:
    """How many times as fast as one process so many stages can be: all work by that of the slowest stage."""
    return sum(work) / max(sum(work[number] for number in part) for part in balanced(work, stages))


def balanced(work: Sequence[float], stages: int) -> list[range]:
    """Split layers into consecutive stages so that the most expensive stage has as little work as possible.

    Args:
        work: of each layer, counted (``multiplications``) or measured (``seconds_by_block``).
        stages: how many.

    Raises:
        ValueError: if there are fewer layers than stages.
    """
    if not 1 <= stages <= len(work):
        raise ValueError(f"{len(work)} layers make from 1 to {len(work)} stages, not {stages}")

    def slowest(bounds: tuple[int, ...]) -> float:
        return max(sum(work[start:end]) for start, end in itertools.pairwise(bounds))

    inner = itertools.combinations(range(1, len(work)), stages - 1)
    best = min(((0, *cuts, len(work)) for cuts in inner), key=slowest)
    return [range(start, end) for start, end in itertools.pairwise(best)]


def seconds_by_block(
    task: TaskShape, settings: ASGESettings, images: Tensor, labels: Tensor, generator: torch.Generator
) -> list[float]:
    """Measured seconds of each block's part of a step, median of a few steps, on a network of its own.

    Args:
        task: as for ``asge.ASGELearner``.
        settings: likewise.
        images: of a batch, (B, C, H, W), on the device.
        labels: theirs, (B,).
        generator: draws the network.
    """
    network = build_network(task, settings, generator).to(images.device)
    for block in network.blocks:
        block.to(memory_format=torch.channels_last)
    stage = Stage(network.blocks, settings, step=settings.step, epochs=1, steps_per_epoch=TIMED_STEPS + 1)
    x, times = images.contiguous(memory_format=torch.channels_last), []
    for _ in range(TIMED_STEPS + 1):  # the first one allocates
        ends = [_now(images.device)]
        seeds = dropout_seeds(network.blocks, generator)
        stage.train_step(x, labels, propagate=False, seeds=seeds, on_layer=lambda: ends.append(_now(images.device)))  # noqa: B023
        times.append([end - start for start, end in itertools.pairwise(ends)])
    return [statistics.median(of_block) for of_block in zip(*times[1:], strict=True)]


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class LayerParallelTrainer:
    """This process's stage of an ASGE network; every process of the group makes one with equal arguments.

    Args:
        task, settings, budget: as for ``asge.ASGELearner``; the classifiers train along.
        device: of this process.
        generator: in the same state in every process, so that all draw the same network.
        sizes: number of images of every batch of an epoch.
        work: of each block, for ``balanced``; the same in every process. None: ``multiplications``.

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
        *,
        sizes: Sequence[int],
        work: Sequence[float] | None = None,
    ) -> None:
        if settings.classifier_epochs or settings.blocks != "trained":
            raise ValueError(
                "layer-parallel training trains blocks and classifiers: classifier_epochs must be 0, blocks 'trained'"
            )
        self._rank, self._stages = dist.get_rank(), dist.get_world_size()
        self._device = device
        self.network = build_network(task, settings, generator)
        layers = parse_plan(settings.plan, task.shape)
        self._sizes = list(sizes)
        self._parts = balanced(multiplications(layers) if work is None else work, self._stages)
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
        self._sent: deque[_InFlight] = deque()

    def train_epoch(self, batches: Iterable[tuple[Tensor, Tensor]] | None = None) -> dict[str, float]:
        """Train this stage for one epoch.

        Args:
            batches: images (B, C, H, W) and labels (B,) in the first process, of the sizes that all processes know;
                None in the others.

        Returns:
            Mean losses of this stage's blocks (``layer1`` ..); in the last process also of the classifiers.

        Raises:
            ValueError: if the first process gets no batches, or of other sizes, or another one gets some.
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
        while self._sent:
            self._await_oldest()
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
        for tensor in itertools.chain(module.parameters(), module.buffers()):  # a resumed process may have drawn others
            values = tensor.detach().contiguous()
            dist.broadcast(values, rank)
            tensor.data.copy_(values)

    def state_dict(self) -> dict[str, Any]:
        """This stage's blocks, optimisers and random state; in the last process, the classifiers too.

        Exact resuming takes the states of all processes, in a group of as many.
        """
        state = {
            "numbers": [self.numbers.start, self.numbers.stop],
            "blocks": [self.network.blocks[number].state_dict() for number in self.numbers],
            "stage": self._stage.state_dict(),
            "generator": self._generator.get_state(),
            "to_whiten": self._whitening.waits,
        }
        if self._is_last:
            state |= {
                "last": self.network.last.state_dict(),
                "fusion": self.network.fusion.state_dict(),
                "classifiers": self._classifiers.state_dict(),
            }
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from this process's ``state_dict``.

        Raises:
            ValueError: if it is the state of another stage.
        """
        if state["numbers"] != [self.numbers.start, self.numbers.stop]:
            raise ValueError(f"it is the state of blocks {state['numbers']}, this stage has {self.numbers}")
        for number, part in zip(self.numbers, state["blocks"], strict=True):
            self.network.blocks[number].load_state_dict(part)
        self._stage.load_state_dict(state["stage"])
        self._generator.set_state(state["generator"])
        self._whitening.waits = state["to_whiten"]
        if self._is_last:
            self.network.last.load_state_dict(state["last"])
            self.network.fusion.load_state_dict(state["fusion"])
            self._classifiers.load_state_dict(state["classifiers"])

    def _loaded(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterable[tuple[Tensor, Tensor, list[Tensor]]]:
        sizes = iter(self._sizes)
        for images, labels in batches:
            if len(labels) != next(sizes, None):
                raise ValueError(f"a batch of {len(labels)} images is not as in the epoch's sizes, {self._sizes}")
            x = images.to(self._device, memory_format=torch.channels_last, non_blocking=True)
            self._whitening.see(x)
            yield x, labels.to(self._device, non_blocking=True), []
        if next(sizes, None) is not None:
            raise ValueError(f"the epoch has fewer batches than its sizes, {self._sizes}")

    def _received(self) -> Iterable[tuple[Tensor, Tensor, list[Tensor]]]:
        """X, labels and the features of all earlier blocks, batch by batch."""
        coming = iter(self._sizes)
        posted = deque(self._receive(size) for size in itertools.islice(coming, AHEAD))
        while posted:
            x, labels, features = posted.popleft().waited()
            yield x.permute(0, 3, 1, 2), labels, list(features.split(self._features_before, dim=1))
            posted.extend(self._receive(size) for size in itertools.islice(coming, 1))

    def _receive(self, size: int) -> _InFlight:
        """Begin to receive a batch of so many images from the previous stage."""
        channels, height, width = self._input_shape
        # Pixels by channels, contiguous, is the memory layout of a channels_last tensor.
        x = torch.empty(size, height, width, channels, device=self._device)
        labels = torch.empty(size, dtype=torch.int64, device=self._device)
        features = torch.empty(size, sum(self._features_before), device=self._device)
        return _InFlight([x, labels, features], lambda tensor: dist.irecv(tensor, self._rank - 1))

    def _send(self, x: Tensor, labels: Tensor, features: list[Tensor]) -> None:
        """Send to the next stage; on a CPU, wait only when it is ``AHEAD`` batches behind."""
        # Under autocast the features have its dtype; the stage that receives expects float32.
        tensors = [x.permute(0, 2, 3, 1).float().contiguous(), labels, torch.cat(features, dim=1).float()]
        self._sent.append(_InFlight(tensors, lambda tensor: dist.isend(tensor, self._rank + 1)))
        while len(self._sent) > AHEAD:
            self._await_oldest()

    def _await_oldest(self) -> None:
        self._sent.popleft().waited()


class _InFlight:
    """Tensors on their way between two stages; they are kept until they have arrived."""

    def __init__(self, tensors: list[Tensor], move: Callable[[Tensor], dist.Work | None]) -> None:
        self._tensors = tensors
        self._works = [move(tensor) for tensor in tensors]

    def waited(self) -> list[Tensor]:
        """The tensors, when they have arrived; with NCCL the device waits, not the host."""
        for work in self._works:
            if work is not None:
                work.wait()
        return self._tensors
