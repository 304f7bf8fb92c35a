"""Consecutive blocks and their optimisers: a whole network, or the part of it that one process trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from asge.block import ASGEBlock
from asge.common.optimisers import OptimiserSettings, ScheduledOptimiser
from asge.layers.gating import parameter_groups
from asge.step import CompiledStep, Outcome, StepName, autograd_step, fast_step


class LocalStep(Protocol):
    """A block's local step: see ``asge.step.fast_step``."""

    def __call__(
        self, block: ASGEBlock, x: Tensor, labels: Tensor, *, propagate: bool, seed: int | None = None
    ) -> Outcome:
        """Loss and gradients of a block."""
        ...


STEPS: dict[StepName, LocalStep] = {"fast": fast_step, "autograd": autograd_step}
GROUP_BYTES = 2**20
"""Consecutive blocks with less than this in parameters are updated together: many small updates cost time, gradients
that wait for a large one cost memory."""


ScheduleBy = Literal["step", "epoch"]


class StageSettings(OptimiserSettings, Protocol):
    """The settings of a stage's optimisers, and of its classifiers': see ``asge.settings.ASGESettings``."""

    @property
    def schedule_by(self) -> ScheduleBy: ...  # noqa: D102
    @property
    def min_learning_rate(self) -> float: ...  # noqa: D102


def scheduled(
    parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
    settings: StageSettings,
    *,
    epochs: int,
    steps_per_epoch: int,
) -> ScheduledOptimiser:
    """An optimiser whose schedule has the length of some epochs and, if the settings say so, changes only with them."""
    return ScheduledOptimiser(
        parameters,
        settings,
        epochs * steps_per_epoch,
        hold=steps_per_epoch if settings.schedule_by == "epoch" else 1,
        min_rate=settings.min_learning_rate,
    )


def dropout_seeds(blocks: Sequence[ASGEBlock], generator: torch.Generator) -> list[int] | None:
    """Draw the seeds of one step's dropout masks, one per block of the network; None, and no draw, without dropout."""
    if not any(block.dropout for block in blocks):
        return None
    drawn: list[int] = torch.randint(2**62, (len(blocks),), generator=generator).tolist()
    return drawn


@dataclass(frozen=True)
class StageOutcome:
    """Results of a stage's step, all detached.

    Attributes:
        losses: a scalar per block.
        features: of the classifiers, see ``ASGEBlock``, (B, C_l) each.
        next_input: X of the block after the stage; None if not requested.
    """

    losses: list[Tensor]
    features: list[Tensor]
    next_input: Tensor | None


class Stage:
    """Consecutive blocks, each of which takes its local step as soon as its input is there.

    Args:
        blocks: at least one.
        settings: of the optimisers.
        step: the local step written out, or by autograd.
        epochs, steps_per_epoch: of the whole training, for the schedule.
    """

    def __init__(
        self,
        blocks: Sequence[ASGEBlock],
        settings: StageSettings,
        *,
        step: StepName,
        epochs: int,
        steps_per_epoch: int,
    ) -> None:
        self.blocks = blocks
        self._local_step: LocalStep = STEPS[step]
        self._optimisers = {
            index: scheduled(
                parameter_groups(group, settings.weight_decay),
                settings,
                epochs=epochs,
                steps_per_epoch=steps_per_epoch,
            )
            for index, group in _groups(blocks).items()
        }

    def compile(self, backend: str = "inductor") -> None:
        """Take compiled local steps from now on, see ``asge.step.CompiledStep``.

        Raises:
            ValueError: if the step is autograd's, or a block has dropout or a gate, which are not compiled.
        """
        if self._local_step is autograd_step:
            raise ValueError("step 'autograd' is not compiled")
        if any(block.dropout or block.unit.gate is not None for block in self.blocks):
            raise ValueError("blocks with dropout or gates are not compiled")
        self._local_step = CompiledStep(len(self.blocks), backend)

    def train_step(
        self,
        x: Tensor,
        labels: Tensor,
        *,
        propagate: bool,
        seeds: Sequence[int] | None = None,
        on_layer: Callable[[], None] | None = None,
    ) -> StageOutcome:
        """One local step of every block, on one batch.

        Args:
            x: detached input of the first block, (B, C, H, W).
            labels: (B,) int64.
            propagate: whether there is a block after the stage.
            seeds: of dropout, one per block of the stage, see ``dropout_seeds``.
            on_layer: called after each block's step.
        """
        losses: list[Tensor] = []
        features: list[Tensor] = []
        next_input: Tensor | None = x
        for optimiser in self._optimisers.values():
            optimiser.zero_grad()  # nothing is left, unless a step was interrupted
        for index, block in enumerate(self.blocks):
            needed = propagate or index + 1 < len(self.blocks)
            outcome = self._local_step(block, x, labels, propagate=needed, seed=seeds[index] if seeds else None)
            if index in self._optimisers:  # the gradients of the group are used, then freed
                self._optimisers[index].step()
                self._optimisers[index].zero_grad()
            losses.append(outcome.loss)
            features.append(outcome.features)
            next_input = outcome.next_input
            if next_input is not None:
                x = next_input
            if on_layer is not None:
                on_layer()
        return StageOutcome(losses, features, next_input)

    def state_dict(self) -> dict[str, Any]:
        """Optimisers and their schedule; the blocks' parameters are the network's."""
        return {str(index): optimiser.state_dict() for index, optimiser in self._optimisers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a ``state_dict``."""
        for index, optimiser in self._optimisers.items():
            optimiser.load_state_dict(state[str(index)])


def _groups(blocks: Sequence[ASGEBlock]) -> dict[int, nn.Module]:
    """Blocks that are updated together, by the index of the last one."""
    groups: dict[int, nn.Module] = {}
    waiting: list[ASGEBlock] = []
    for index, block in enumerate(blocks):
        waiting.append(block)
        size = sum(parameter.nbytes for each in waiting for parameter in each.parameters())
        if index + 1 == len(blocks) or size >= GROUP_BYTES:
            groups[index] = nn.ModuleList(waiting)
            waiting = []
    return groups
