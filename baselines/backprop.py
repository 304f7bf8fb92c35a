"""Backprop: one loss at the end of a network, one gradient through all of it.

On ASGE's topology, the default, the network has ASGE's convolutions, pooling and LayerNorm, and the classifier of its
strategy `last`: with equal plan, pooling and `affine` only the loss and its gradient differ. Other networks are VGG
with batch normalisation, and the models of timm and torchvision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from asge.block import ConvUnit
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
from asge.common.types import Neutral, TaskShape, TrainingBudget, refuse_without_effect
from asge.layers.gating import (
    Gate,
    Gated,
    Gating,
    Where,
    add_gates,
    check_gating,
    gammas,
    make_gate,
    parameter_groups,
)
from asge.layers.pooling import Pooling, replace_pools
from asge.network import gates, parse_plan
from asge.whitening import FirstLayer, Whitening
from baselines.library_models import library_model
from baselines.stack import Block, Hidden, Stack, Topology, between, is_vgg8b
from baselines.start import take_over, weights_of
from baselines.vgg import Activation, Dropout, VGGBlock

OF_A_STACK = ("topology", "plan", "hidden", "pooling", "activation", "dropout", "affine")
"""Settings that define a stack."""
LibraryPools = Literal["own", "soft", "rms", "max", "avg"]


@settings_class
class BackpropSettings:
    """Settings of backprop.

    Attributes:
        model: "stack", defined by the settings below, or "timm:NAME" or "torchvision:NAME", see
            ``baselines.library_models``.
        topology, plan, hidden, pooling, activation, dropout, affine: of a stack, see ``baselines.stack``; reset to
            their defaults where the model is a library's.
        first_layer: of topology "asge": its first weights: random as all others', or "whitened", see
            ``asge.whitening``.
        library_pools: pools that replace those of a library's model, see ``asge.pooling.replace_pools``.
        gating, gate_activation: gates of channels before convolutions, see ``asge.gating.make_gate``.
        gating_where: "every" convolution, or the first of each "block": of a stack, the first on maps of each size; of
            a library's model, the first in each residual block.
        gate_epochs: number of first epochs that train only the gates, for gates inserted into a trained network; batch
            normalisation then keeps its statistics.
        accumulate: micro-batches per batch; their gradients are summed. Less memory for the same step, except that
            batch normalisation takes its statistics from each micro-batch.
        checkpointing: "blocks" keeps only what enters a block, and computes the rest again in the backward pass (Chen
            et al. 2016, arXiv 1604.06174): less memory for the same step, and more time. Of topology "asge", whose
            blocks draw nothing and keep no statistics.
        optimiser, learning_rate, weight_decay, momentum, schedule: see ``asge.common.optimisers``; momentum is SGD's.
    """

    model: str = "stack"
    topology: Topology = "asge"
    plan: str = "small"
    hidden: Hidden = ()
    pooling: Pooling = "rms"
    activation: Activation = "relu"
    dropout: Dropout = 0.0
    affine: Annotated[bool, Neutral(False)] = False
    first_layer: Annotated[FirstLayer, Neutral("random")] = "random"
    library_pools: Annotated[LibraryPools, Neutral("own")] = "own"
    gating: Annotated[Gating, Neutral("none")] = "none"
    gating_where: Annotated[Where, Neutral("every")] = "every"
    gate_activation: Annotated[Gate, Neutral("tanh")] = "tanh"
    gate_epochs: Annotated[int, Ge(0), Neutral(0)] = 0
    accumulate: Annotated[int, Ge(1)] = 1
    checkpointing: Annotated[Literal["none", "blocks"], Neutral("none")] = "none"
    optimiser: OptimiserSetting = "adamw"
    learning_rate: LearningRate = 3e-3
    weight_decay: WeightDecay = 1e-4
    momentum: Momentum = 0.9
    schedule: ScheduleSetting = "one-cycle"

    def __post_init__(self) -> None:
        if self.model != "stack":
            for each in fields(BackpropSettings):
                if each.name in OF_A_STACK:
                    object.__setattr__(self, each.name, each.default)


def build_network(task: TaskShape, settings: BackpropSettings, generator: torch.Generator) -> nn.Module:
    """Build the network of some settings for a task, on the CPU: images (B, C, H, W) -> logits (B, N).

    Raises:
        ValueError: if a setting has no effect, or settings and task do not fit.
    """
    _check(settings)
    if settings.model == "stack":
        layers = parse_plan(settings.plan, task.shape)
        return Stack(
            task.shape,
            task.classes,
            settings,
            pooled=settings.topology == "asge",
            gates=gates(layers, settings.gating, settings.gating_where, settings.gate_activation, generator),
            generator=generator,
        )
    network = library_model(settings.model, task.shape, task.classes, generator=generator)
    if settings.library_pools != "own":
        replace_pools(network.model, settings.library_pools)
    if settings.gating != "none":
        kind, activation = settings.gating, settings.gate_activation
        add_gates(
            network.model,
            settings.gating_where,
            lambda channels: make_gate(kind, channels, activation=activation, generator=generator),
        )
    return network


def _check(settings: BackpropSettings) -> None:
    """Raise a ValueError for a setting that would have no effect."""
    check_gating(settings)
    refuse_without_effect(settings, ["gate_epochs"], f"gating {settings.gating!r}", when=settings.gating == "none")
    if settings.model == "stack":
        refuse_without_effect(settings, ["library_pools"], "model 'stack'")
    if (settings.model, settings.topology) != ("stack", "asge"):
        other = f"topology {settings.topology!r}" if settings.model == "stack" else f"model {settings.model!r}"
        refuse_without_effect(settings, ["first_layer", "checkpointing"], other)


def _gates(network: nn.Module) -> dict[str, nn.Module]:
    """The gates before convolutions, by module name."""
    found: dict[str, nn.Module] = {}
    for name, module in network.named_modules():
        if isinstance(module, Gated):
            found[f"{name}.transform"] = module.transform
        elif isinstance(module, ConvUnit | VGGBlock) and module.gate is not None:
            found[f"{name}.gate"] = module.gate
    return found


class BackpropLearner:
    """Trains a network end to end with cross-entropy."""

    strategies = ("logits",)

    def __init__(
        self,
        task: TaskShape,
        settings: BackpropSettings,
        budget: TrainingBudget,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        self.network = build_network(task, settings, generator)
        self._parts = settings.accumulate
        self._again = settings.checkpointing == "blocks"
        self._drops = settings.dropout > 0
        self._gate_epochs = settings.gate_epochs
        self._frozen = False
        self._compiled: Any = None
        self._size: int | None = None
        self._whitening = Whitening(self.network, settings.first_layer)
        self.network.to(device).to(memory_format=torch.channels_last)
        groups = parameter_groups(self.network, settings.weight_decay)
        self._optimiser = ScheduledOptimiser(groups, settings, total_steps=budget.epochs * budget.steps_per_epoch)

    def begin_with(self, state: dict[str, Any]) -> None:
        """Load weights of a network with the same gates or none; gates missing there keep their initial values.

        Raises:
            ValueError: if it is a different network.
        """
        of_gates = tuple(f"{name}." for name in _gates(self.network))
        weights = weights_of(state)
        gated = bool(of_gates) and any(name.startswith(of_gates) for name in weights)

        def old_name(name: str) -> str:
            return name if gated else name.replace(".convolution.", ".")

        self._whitening.waits = False
        take_over(self.network, weights, lambda name: name.startswith(of_gates), old_name)

    def compile(self, backend: str = "inductor") -> None:
        """Compile the network's forward and backward pass, for batches of the first one's size.

        Raises:
            ValueError: with checkpointing, gates or dropout, which are not compiled.
        """
        if self._again or self._drops or _gates(self.network):
            raise ValueError("networks with checkpointing, gates or dropout are not compiled")
        self._compiled = torch.compile(self.network, dynamic=False, backend=backend)

    def begin_epoch(self, epoch: int) -> None:
        """Freeze all but the gates during the first ``gate_epochs``."""
        self._frozen = epoch < self._gate_epochs
        if self._gate_epochs:
            self.network.requires_grad_(not self._frozen)
            for gate in _gates(self.network).values():
                gate.requires_grad_()

    def train_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One step of backprop on images (B, C, H, W) float and labels (B,) int64; returns the detached ``loss``."""
        self.network.train(not self._frozen)
        self._optimiser.zero_grad()
        images = images.contiguous(memory_format=torch.channels_last)
        self._whitening.see(images)
        total = torch.zeros((), device=images.device)
        for part, of_part in zip(images.chunk(self._parts), labels.chunk(self._parts), strict=True):
            # No name for the logits: they would live on through the backward pass.
            loss = F.cross_entropy(self._logits(part), of_part, reduction="sum") / len(labels)
            loss.backward()
            total += loss.detach()
        self._optimiser.step()
        return {"loss": total}

    def _logits(self, images: Tensor) -> Tensor:
        """Logits (B, N) for the loss; with checkpointing, the backward pass computes every block again."""
        if not self._again:
            self._size = self._size or len(images)
            compiled = self._compiled is not None and len(images) == self._size
            network = self._compiled if compiled else self.network
            logits: Tensor = network(images)
            return logits
        stack, x = cast(Stack, self.network), images
        for block in stack.blocks:
            after = stack.classify if block is stack.blocks[-1] else block.propagate
            x = checkpoint(_passed, block, after, x, use_reentrant=False, preserve_rng_state=False)
        return x

    def finish(self, validation: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Nothing to choose."""

    @torch.no_grad()
    def predict(self, images: Tensor, strategy: str) -> Tensor:
        """Logits (B, N); the only strategy is `logits`."""
        if strategy != "logits":
            raise ValueError(f"strategy must be logits, got {strategy!r}")
        self.network.eval()
        logits: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return logits

    def layer_values(self, validation: Iterable[tuple[Tensor, Tensor]]) -> dict[str, list[Tensor]]:  # noqa: ARG002
        """``gamma`` of GCT's gates, (C,) each, first to last: above 0 channels compete, below they cooperate."""
        found = gammas(self.network)
        return {"gamma": found} if found else {}

    def parameters(self, strategy: str | None = None) -> Iterator[Tensor]:  # noqa: ARG002
        """All tensors: the only strategy uses every one of them."""
        return self.network.parameters()

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser, schedule, and whether the first layer is still to be whitened."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "to_whiten": self._whitening.waits,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a ``state_dict``."""
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._whitening.waits = state["to_whiten"]


def _passed(block: Block, after: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return after(block.activate(x))


class Backprop:
    """The method as the harness registers it."""

    Settings: ClassVar[type[BackpropSettings]] = BackpropSettings
    strategies: ClassVar[tuple[str, ...]] = BackpropLearner.strategies
    build: ClassVar[type[BackpropLearner]] = BackpropLearner
    small: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"plan": "8,M,16"},
        {"plan": "8,M,16", "gating": "gct-l1", "gating_where": "block", "affine": True},
        {"plan": "8,M,16", "gating": "se", "checkpointing": "blocks"},
        {"topology": "vgg", "plan": "8,M,16", "hidden": [12], "dropout": 0.2, "accumulate": 2},
    )

    @staticmethod
    def published(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Rows of published.csv that such a run is compared with."""
        if settings.get("model") == "timm:resnet18":
            return [("BP", "ResNet-18"), ("BP", "ResNet-18 augmented")]
        return [("BP", "VGG8b augmented"), ("BP", "VGG8b")] if is_vgg8b(settings) else []

    @staticmethod
    def between(settings: Mapping[str, Any]) -> str:
        """Describe, in words, the layers between the convolutions."""
        if settings.get("model", "stack") != "stack":
            return f"as in {settings['model']}"
        return between(settings, settings.get("activation", "relu"))

    @staticmethod
    def optimiser(settings: Mapping[str, Any]) -> str:
        """Describe the optimiser, in words."""
        return optimiser_in_words(settings)

    @staticmethod
    def family(settings: Mapping[str, Any]) -> str:
        """The kind of gates, where there are some."""
        return str(settings.get("gating", ""))
