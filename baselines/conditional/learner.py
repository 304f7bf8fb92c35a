"""Training of networks with gates, shared by ConvNet-AIG and batch-shaping."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from asge.common.optimisers import OptimiserSettings, ScheduledOptimiser, optimiser_in_words
from asge.common.types import OPEN, TrainingBudget
from asge.layers.gating import groups_without_decay
from baselines.conditional.gates import BlockGate, ChannelGate, SaliencyGate
from baselines.conditional.resnet import GatedResNet, Outcome
from baselines.start import take_over, weights_of

GateLosses = Callable[[Outcome, float], dict[str, Tensor]]
"""Weighted losses on the gates by name, from a pass's outcome and the training progress from 0 to 1."""


class GatedSettings(OptimiserSettings, Protocol):
    """Settings of a gated network's training."""

    @property
    def gate_learning_rate(self) -> float | None:
        """Peak learning rate of the gates; None for the network's."""

    @property
    def gate_weight_decay(self) -> float | None:
        """Weight decay of the gates; None for the network's."""


def optimiser_of(settings: Mapping[str, Any]) -> str:
    """Describe the optimiser, in words, with the gates' own rate where there are gates."""
    return optimiser_in_words(settings, *(["gate"] if settings.get("gating") != "none" else []))


def kind_of_gates(settings: Mapping[str, Any]) -> str:
    """The kind of gates that the settings choose."""
    return str(settings.get("gating", ""))


class ConditionalLearner:
    """Trains a gated network end to end: cross-entropy plus the method's losses on the gates.

    Args:
        network: on the CPU.
        losses: on the gates.
        settings: of the optimiser; gates have no weight decay, and may have their own learning rate.
        budget: epochs and steps.
        device: where to train.
    """

    strategies = ("logits",)

    def __init__(
        self,
        network: GatedResNet,
        losses: GateLosses,
        settings: GatedSettings,
        budget: TrainingBudget,
        device: torch.device,
    ) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self._losses = losses
        self._steps = max(1, budget.epochs * budget.steps_per_epoch)
        self._step = 0
        of_gates = [
            parameter
            for module in network.modules()
            if isinstance(module, BlockGate | ChannelGate | SaliencyGate)
            for parameter in module.parameters()
        ]
        groups = groups_without_decay(network, of_gates, settings.weight_decay)
        if of_gates:
            decay = settings.gate_weight_decay
            groups[-1]["weight_decay"] = settings.weight_decay if decay is None else decay
            if settings.gate_learning_rate is not None:
                groups[-1]["lr"] = settings.gate_learning_rate
        self._optimiser = ScheduledOptimiser(groups, settings, self._steps)

    def begin_with(self, state: dict[str, Any]) -> None:
        """Load weights of a network with the same gates or none; gates missing there keep their initial values.

        Raises:
            ValueError: if it is a different network.
        """
        take_over(self.network, weights_of(state), lambda name: "_gate." in name)

    def begin_epoch(self, epoch: int) -> None:
        """Nothing to do: the schedules count steps."""

    def train_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One step on images (B, C, H, W) float and labels (B,) int64.

        Returns:
            Detached scalars: the classifier's ``loss``, and the weighted losses on the gates.
        """
        self.network.train()
        self._optimiser.zero_grad()
        outcome = self.network(images.contiguous(memory_format=torch.channels_last))
        losses = {"loss": F.cross_entropy(outcome.logits, labels), **self._losses(outcome, self._step / self._steps)}
        torch.stack(list(losses.values())).sum().backward()
        self._optimiser.step()
        self._step += 1
        return {name: loss.detach() for name, loss in losses.items()}

    def finish(self, validation: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Nothing to choose."""

    @torch.no_grad()
    def predict(self, images: Tensor, strategy: str) -> Tensor:
        """Logits (B, N) with deterministic gates; closed parts are not computed. The only strategy is `logits`."""
        if strategy != "logits":
            raise ValueError(f"strategy must be logits, got {strategy!r}")
        return self._outcome(images).logits

    @torch.no_grad()
    def executed_macs(self, images: Tensor) -> Tensor:
        """Multiply-accumulate operations per image, gates included, (B,) float64."""
        return self._outcome(images).macs

    @torch.no_grad()
    def executed_layers(self, images: Tensor) -> Tensor:
        """Share of each block's gates that are open per image, (B, L)."""
        return self._outcome(images).executed

    @torch.no_grad()
    def layer_values(self, validation: Iterable[tuple[Tensor, Tensor]]) -> dict[str, list[Tensor]]:
        """``open``: per block, the share of images for which each of its gates is open, (G,).

        A block that always runs counts as one gate that is always open. Empty for a network without gates.
        """
        totals: list[Tensor] = []
        count = 0
        for images, _ in validation:
            opened = self._opened(self._outcome(images))
            totals = [total + more for total, more in zip(totals, opened, strict=True)] if totals else opened
            count += len(images)
        return {OPEN: [total / count for total in totals]} if totals else {}

    def _opened(self, outcome: Outcome) -> list[Tensor]:
        """Per block, the number of images for which each gate is open, (G,); an empty list without any gates."""
        if not outcome.gates:
            return []
        gates = iter(outcome.gates)
        return [
            (next(gates) > 0).double().sum(0)
            if block.block_gate is not None or block.channel_gate is not None
            else outcome.executed.new_full((1,), len(outcome.executed), dtype=torch.float64)
            for block in self.network.blocks
        ]

    def parameters(self, strategy: str | None = None) -> Iterator[Tensor]:  # noqa: ARG002
        """All tensors: the only strategy uses every one of them."""
        return self.network.parameters()

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser, schedules."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "step": self._step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a ``state_dict``."""
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._step = state["step"]

    def _outcome(self, images: Tensor) -> Outcome:
        self.network.eval()
        outcome: Outcome = self.network(images.contiguous(memory_format=torch.channels_last))
        return outcome
