"""Gates in local learning: ASGE's block (arXiv 2509.12394) with gates on its channels (arXiv 1907.06627).

Block l with its input X_l detached, and g from a gate that reads X_l:

    Y_l = g_l(X_l) . ReLU(Conv(X_l))
    X_{l+1} = [Y_l's channel is not 0 everywhere] . LayerNorm_C(RMSPool(Y_l))      LayerNorm alone would reopen it
    a_l = W_l encode(Y_l) + b_l                                                     W_l, b_l drawn once, never trained
    L_l = CE(a_l, label) + gamma(t) L_BS(g_l) + lambda(t) L_0(g_l)                  trains Conv and gate of this block

So a block's own loss alone decides how much it and the next block compute. This is not a published method; the
published ones gate networks trained end to end. Closed channels are counted as skipped, but are computed here.

Shapes: B images, C channels, H x W pixels, L blocks, N classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge
from torch import Tensor, nn

from asge import strategies
from asge.block import ASGEBlock, between_units, pooled
from asge.common.best_layer import most_accurate
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
from asge.common.types import OPEN, Examination, TaskShape, TrainingBudget
from asge.layers.gating import groups_without_decay
from asge.learner import Classifiers
from asge.network import ASGENetwork
from baselines.conditional.bas import Share, Weight
from baselines.conditional.batch_shaping import Reduction, check_schedule, gate_losses
from baselines.conditional.gates import ChannelGate, gate_macs

OPEN_BIAS = 2.0
"""Gates are initially open with probability 0.88; at even odds a block would learn from every other channel."""


@settings_class
class GatedASGESettings:
    """Settings of ASGE with gates on channels.

    Attributes:
        plan, alpha: as for ASGE.
        shaping_weight, shaping_reduction, shaping_until, l0_weight, l0_from, l0_until: for every block's gates, as in
            batch-shaping, see ``baselines.conditional.bas``.
        optimiser, learning_rate, weight_decay, momentum, schedule: see ``asge.common.optimisers``; gates have
            no weight decay.
    """

    plan: str = "small"
    alpha: Annotated[float, Ge(0)] = 1.0
    shaping_weight: Weight = 0.75
    shaping_reduction: Reduction = "mean"
    shaping_until: Share = 0.2
    l0_weight: Weight = 0.05
    l0_from: Share = 0.2
    l0_until: Share = 0.6
    optimiser: OptimiserSetting = "adamw"
    learning_rate: LearningRate = 3e-3
    weight_decay: WeightDecay = 1e-4
    momentum: Momentum = 0.9
    schedule: ScheduleSetting = "one-cycle"


class GatedBlock(ASGEBlock):
    """ASGE's block with a gate on each channel of its output; arguments are ``ASGEBlock``'s."""

    def __init__(self, in_channels: int, out_channels: int, *, generator: torch.Generator, **options: Any) -> None:
        super().__init__(in_channels, out_channels, generator=generator, **options)
        self.channel_gate = ChannelGate(in_channels, out_channels, generator=generator)
        nn.init.constant_(self.channel_gate.head.bias, OPEN_BIAS)

    def gated(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Y_l, (B, C', H, W), and P(open) of its gates, (B, C'), for X_l (B, C, H, W)."""
        logits = self.channel_gate.logits(x)
        y = super().activate(x) * self.channel_gate.sample(logits)[:, :, None, None]
        return y, self.channel_gate.soft(logits)

    def activate(self, x: Tensor) -> Tensor:
        """Y_l: (B, C, H, W) -> (B, C', H, W)."""
        return self.gated(x)[0]

    def propagate(self, y: Tensor, seed: int | None = None) -> Tensor:
        """X_{l+1}: (B, C', H, W) -> (B, C', H', W'), 0 where a channel of Y_l is."""
        return super().propagate(y, seed) * (y.amax((2, 3), keepdim=True) > 0)


class GatedASGELearner:
    """Trains ASGE's network with gates on channels.

    Attributes:
        on_layer: None, or a function that ``train_step`` calls after each block's local step.
    """

    strategies = strategies.STRATEGIES

    def __init__(
        self,
        task: TaskShape,
        settings: GatedASGESettings,
        budget: TrainingBudget,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        check_schedule(settings)
        self.network = ASGENetwork(
            task.shape,
            task.classes,
            plan=settings.plan,
            alpha=settings.alpha,
            make_block=GatedBlock,
            generator=generator,
        )
        self.network.to(device).to(memory_format=torch.channels_last)
        self.on_layer: Callable[[], None] | None = None
        self._settings = settings
        self._steps = max(1, budget.epochs * budget.steps_per_epoch)
        self._step = 0
        blocks = nn.ModuleList(self._blocks())
        of_gates = [parameter for block in self._blocks() for parameter in block.channel_gate.parameters()]
        groups = groups_without_decay(blocks, of_gates, settings.weight_decay)
        self._optimiser = ScheduledOptimiser(groups, settings, self._steps)
        self._classifiers = Classifiers(
            self.network, lambda parameters: ScheduledOptimiser(parameters, settings, self._steps)
        )

    def begin_epoch(self, epoch: int) -> None:
        """Nothing to do: the schedules count steps."""

    def train_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One local step of every block and one of the classifiers, on images (B, C, H, W) and labels (B,) int64.

        Returns:
            Detached scalars: ``layer1`` .. ``layerL``, ``last``, ``fusion``, and mean ``shaping`` and ``l0``.
        """
        self.network.train()
        x = images.contiguous(memory_format=torch.channels_last)
        losses: dict[str, Tensor] = {}
        of_gates: dict[str, list[Tensor]] = {"shaping": [], "l0": []}
        features = []
        self._optimiser.zero_grad()
        for number, block in enumerate(self._blocks(), start=1):
            y, soft = block.gated(x)
            loss = F.cross_entropy(block.local_logits(y), labels)
            gates = gate_losses(soft, self._settings, self._step / self._steps)
            torch.stack([loss, *gates.values()]).sum().backward()
            losses[f"layer{number}"] = loss.detach()
            for name, of_block in gates.items():
                of_gates[name].append(of_block.detach())
            y = y.detach()
            features.append(pooled(y))
            x = block.propagate(y)
            if self.on_layer is not None:
                self.on_layer()
        self._optimiser.step()
        self._optimiser.zero_grad()
        self._step += 1
        losses |= self._classifiers.train_step(features, labels)
        return losses | {name: torch.stack(values).mean() for name, values in of_gates.items()}

    def finish(self, validation: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Choose l*, see ``asge.strategies.choose_best_layer``."""
        self.network.eval()
        strategies.choose_best_layer(self.network, validation)

    def choose_layer(self, accuracies: Sequence[float]) -> dict[str, float]:
        """Choose l* as ``finish`` would, from all layers' validation accuracies; returns that of `best`."""
        self.network.best_layer = most_accurate(accuracies)
        return {"best": accuracies[self.network.best_layer]}

    def predict(self, images: Tensor, strategy: str) -> Tensor:
        """Logits (B, N) of a strategy: last, fusion or best; gates are deterministic."""
        self.network.eval()
        return strategies.predict(self.network, images.contiguous(memory_format=torch.channels_last), strategy)

    def layer_logits(self, images: Tensor) -> list[Tensor]:
        """Every layer's own logits, (B, N) each."""
        self.network.eval()
        return strategies.layer_logits(self.network, images.contiguous(memory_format=torch.channels_last))

    def layer_goodness(self, images: Tensor) -> list[Tensor]:
        """Mean of Y_l^2 over images, channels and space, a scalar per layer."""
        self.network.eval()
        return strategies.layer_goodness(self.network, images.contiguous(memory_format=torch.channels_last))

    def examine(self, images: Tensor) -> Examination:
        """Results of ``predict``, ``layer_logits`` and ``layer_goodness`` from a single forward pass."""
        self.network.eval()
        return strategies.examine(self.network, images.contiguous(memory_format=torch.channels_last))

    @torch.no_grad()
    def executed_layers(self, images: Tensor) -> Tensor:
        """Share of each block's channels that are open per image, (B, L)."""
        return torch.stack([opened.double().mean(1) for opened, _ in self._opened(images)], dim=1)

    @torch.no_grad()
    def executed_macs(self, images: Tensor) -> Tensor:
        """Multiply-accumulate operations of convolutions and gates per image, (B,) float64.

        A convolution only has to compute its open channels, from the input channels that are not 0.
        """
        self.network.eval()
        total = torch.zeros(len(images), dtype=torch.float64, device=images.device)
        read = torch.ones_like(total)
        for block, (opened, pixels) in zip(self._blocks(), self._opened(images), strict=True):
            share = opened.double().mean(1)
            total += read * share * (block.unit.conv.weight.numel() * pixels)
            total += gate_macs(block.channel_gate)
            read = share
        return total

    @torch.no_grad()
    def layer_values(self, validation: Iterable[tuple[Tensor, Tensor]]) -> dict[str, list[Tensor]]:
        """``open``: per block, the share of images for which each gate is open, (C',)."""
        totals: list[Tensor] = []
        count = 0
        for images, _ in validation:
            opened = [each.double().sum(0) for each, _ in self._opened(images)]
            totals = [total + more for total, more in zip(totals, opened, strict=True)] if totals else opened
            count += len(images)
        return {OPEN: [total / count for total in totals]}

    def parameters(self, strategy: str | None = None) -> Iterator[Tensor]:
        """The tensors that a strategy predicts with; without a strategy, all trained tensors."""
        if strategy is None:
            yield from self.network.parameters()
        else:
            yield from strategies.parameters(self.network, strategy)

    def state_dict(self) -> dict[str, Any]:
        """Network, optimisers, schedules and l*."""
        return {
            "network": self.network.state_dict(),
            "blocks": self._optimiser.state_dict(),
            "classifiers": self._classifiers.state_dict(),
            "best_layer": self.network.best_layer,
            "step": self._step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a ``state_dict``."""
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["blocks"])
        self._classifiers.load_state_dict(state["classifiers"])
        self.network.best_layer = state["best_layer"]
        self._step = state["step"]

    def _blocks(self) -> list[GatedBlock]:
        return [block for block in self.network.blocks if isinstance(block, GatedBlock)]

    def _opened(self, images: Tensor) -> Iterator[tuple[Tensor, int]]:
        """Per block in evaluation mode: which gates are open, (B, C') bool, and the pixels of its map."""
        self.network.eval()
        x = images.contiguous(memory_format=torch.channels_last)
        for block in self._blocks():
            y, soft = block.gated(x)
            yield soft > 0.5, y.shape[2:].numel()
            x = block.propagate(y)


class GatedASGE:
    """The method as the harness registers it."""

    Settings: ClassVar[type[GatedASGESettings]] = GatedASGESettings
    strategies: ClassVar[tuple[str, ...]] = strategies.STRATEGIES
    build: ClassVar[type[GatedASGELearner]] = GatedASGELearner
    small: ClassVar[Sequence[Mapping[str, Any]]] = (
        {
            "plan": "8,M,16",
            "shaping_until": 1.0,
            "l0_from": 0.0,
            "l0_until": 0.0,
            "l0_weight": 1.0,
            "learning_rate": 0.01,
        },
    )
    optimiser = staticmethod(optimiser_in_words)

    @staticmethod
    def between(settings: Mapping[str, Any]) -> str:  # noqa: ARG004
        """Describe, in words, the layers between the convolutions."""
        return f"{between_units('rms', affine=False)}, gates on channels"
