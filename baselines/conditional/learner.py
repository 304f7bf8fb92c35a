"""Training of a network with gates: what ConvNet-AIG and batch-shaping share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from asge.common.optimisers import OptimiserSettings, ScheduledOptimiser
from asge.common.types import TrainingBudget
from asge.layers.gating import groups_without_decay
from baselines.conditional.gates import BlockGate, ChannelGate, SaliencyGate
from baselines.conditional.resnet import GatedResNet, Outcome
from baselines.start import take_over, weights_of

GateLosses = Callable[[Outcome, float], dict[str, Tensor]]
"""Weighted losses of the gates by name, from what a pass gave and the progress of training from 0 to 1."""


class GatedSettings(OptimiserSettings, Protocol):
    """The settings of a gated network's training."""

    @property
    def gate_learning_rate(self) -> float | None:
        """Peak of the gates' learning rate; None for that of the network."""


class ConditionalLearner:
    """A gated network in end-to-end training: cross-entropy, and what its method asks of the gates.

    Args:
        network: on the CPU.
        losses: of the gates.
        settings: of the optimiser; gates have no weight decay, and may have a rate of their own.
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
        if of_gates and settings.gate_learning_rate is not None:
            groups[-1]["lr"] = settings.gate_learning_rate
        self._optimiser = ScheduledOptimiser(groups, settings, self._steps)

    def begin_with(self, state: dict[str, Any]) -> None:
        """Take over a network without gates, or with the same ones; gates that it had not stay as they were drawn.

        Raises:
            ValueError: if it is not a network like this one.
        """
        take_over(self.network, weights_of(state), lambda name: "_gate." in name)

    def begin_epoch(self, epoch: int) -> None:
        """Nothing to do: the schedules count steps."""

    def train_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One step on images (B, C, H, W) float and labels (B,) int64.

        Returns:
            Detached scalars: the ``loss`` of the classifier, and those of the gates, weighted.
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
        """Logits (B, N), by deterministic gates; what they close is not computed. The only strategy is `logits`."""
        if strategy != "logits":
            raise ValueError(f"strategy must be logits, got {strategy!r}")
        return self._outcome(images).logits

    @torch.no_grad()
    def executed_macs(self, images: Tensor) -> Tensor:
        """Multiply-accumulate operations of every image, gates included, (B,) float64."""
        return self._outcome(images).macs

    @torch.no_grad()
    def executed_layers(self, images: Tensor) -> Tensor:
        """Share of every block's gates that is open for each image, (B, L)."""
        return self._outcome(images).executed

    @torch.no_grad()
    def layer_values(self, validation: Iterable[tuple[Tensor, Tensor]]) -> dict[str, list[Tensor]]:
        """``open``: of every block, the share of images for which each of its gates is open, (G,).

        A block that always runs is as one whose gate is always open. Nothing of a network without gates.
        """
        totals: list[Tensor] = []
        count = 0
        for images, _ in validation:
            opened = self._opened(self._outcome(images))
            totals = [total + more for total, more in zip(totals, opened, strict=True)] if totals else opened
            count += len(images)
        return {"open": [total / count for total in totals]} if totals else {}

    def _opened(self, outcome: Outcome) -> list[Tensor]:
        """Of every block for how many images each gate is open, (G,); an empty list without any gates."""
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
        """All tensors; the one strategy needs every one of them."""
        return self.network.parameters()

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser, schedules."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "step": self._step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken."""
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._step = state["step"]

    def _outcome(self, images: Tensor) -> Outcome:
        self.network.eval()
        outcome: Outcome = self.network(images.contiguous(memory_format=torch.channels_last))
        return outcome
