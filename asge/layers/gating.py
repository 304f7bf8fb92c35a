"""GCT, the gated channel transformation (Yang, Zhu, Wu, Yang, CVPR 2020, arXiv 1909.11519).

    s_c = alpha_c sqrt(sum_{h,w} x_c^2 + eps)            embedding, l2; l1: alpha_c sum_{h,w} |x_c|
    n_c = s_c / sqrt(mean_c(s_c^2) + eps)                channel normalisation; l1: s_c / (mean_c |s_c| + eps)
    y_c = x_c (1 + tanh(gamma_c n_c + beta_c))           gate, from 0 to 2

At first alpha = 1, gamma = beta = 0, and y = x. Where gamma is above 0 channels compete, where it is below they
cooperate. Shapes: B images, C channels, any number of dimensions behind them.

Methods have such gates before convolutions by their settings, with timm's squeeze-and-excitation (Hu, Shen, Sun, CVPR
2018) as GCT's rival at the same places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from asge.common.tensors import at_least_float32, in_full_precision
from asge.common.types import refuse_without_effect
from asge.layers import fused_gating, scaled_convolution
from asge.layers.scaled_convolution import scaled_conv2d

Mode = Literal["l2", "l1"]
Gate = Literal["tanh", "sigmoid", "elu"]
Where = Literal["every", "block"]
Gating = Literal["none", "gct", "gct-l1", "se"]
EPS = 1e-5
G = TypeVar("G", bound=nn.Module)


class GatedChannelTransform(nn.Module):
    """A gate per channel, from the norms of all channels of the same sample.

    Args:
        channels: C.
        mode: norm of the embedding, "l2" or "l1".
        eps: keeps roots and quotients finite.
        gate: "tanh", 1 + tanh; for ablations "sigmoid", 2 sigmoid, or "elu", 1 + ELU: all of them 1 at 0.

    Attributes:
        alpha, gamma, beta: parameters (C,), in this order.

    Raises:
        ValueError: for an unknown mode or gate.
    """

    def __init__(self, channels: int, mode: Mode = "l2", eps: float = EPS, gate: Gate = "tanh") -> None:
        super().__init__()
        if mode not in ("l2", "l1"):
            raise ValueError(f"mode must be 'l2' or 'l1', got {mode!r}")
        if gate not in ("tanh", "sigmoid", "elu"):
            raise ValueError(f"gate must be 'tanh', 'sigmoid' or 'elu', got {gate!r}")
        self.mode: Mode = mode
        self.eps = eps
        self.gate: Gate = gate
        self.alpha = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """y: (B, C, ...) -> (B, C, ...), same dtype. Norms and gates are computed in float32 at least."""
        self._check(x)
        with in_full_precision(x.device):
            if self.mode == "l2" and self.gate == "tanh" and fused_gating.pays(x, self.alpha):
                return fused_gating.gated(x, self.alpha, self.gamma, self.beta, self.eps)
            gates = self.gates(x).to(x.dtype)
        return x * gates.view(*gates.shape, *(1,) * (x.dim() - 2))

    def gates(self, x: Tensor) -> Tensor:
        """The factor of every channel, 1 + tanh(gamma n + beta) or its ablation: (B, C), float32 or wider."""
        self._check(x)
        precise = at_least_float32(x)
        if self.mode == "l2":
            embedding = self.alpha * (precise.flatten(2).square().sum(2) + self.eps).sqrt()
            normal = embedding / (embedding.square().mean(1, keepdim=True) + self.eps).sqrt()
        else:
            embedding = self.alpha * precise.flatten(2).abs().sum(2)
            normal = embedding / (embedding.abs().mean(1, keepdim=True) + self.eps)
        logits = self.gamma * normal + self.beta
        if self.gate == "tanh":
            return 1 + logits.tanh()
        return 2 * logits.sigmoid() if self.gate == "sigmoid" else 1 + nn.functional.elu(logits)

    def _check(self, x: Tensor) -> None:
        if x.dim() < 3 or x.shape[1] != len(self.alpha):
            raise ValueError(f"x must be (B, {len(self.alpha)}, ...) with a space behind, got {tuple(x.shape)}")

    def extra_repr(self) -> str:
        """Channels, mode and gate."""
        return f"{len(self.alpha)}, mode={self.mode!r}, gate={self.gate!r}"


class Gated(nn.Sequential):
    """A gate followed by a convolution."""

    def __init__(self, transform: nn.Module, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.transform = transform
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        if isinstance(self.transform, GatedChannelTransform) and scaled_convolution.pays(x, self.convolution):
            return scaled_conv2d(x, self.transform.gates(x), self.convolution)
        gated: Tensor = self.convolution(self.transform(x))
        return gated


def add_gct(
    model: nn.Module, where: Where = "every", *, mode: Mode = "l2", eps: float = EPS, gate: Gate = "tanh"
) -> list[GatedChannelTransform]:
    """Insert a GCT gate before convolutions of a model; at first the gates are 1 and the model computes the same.

    Args:
        model: any network of 2d convolutions, such as torchvision's and timm's; changed in place.
        where: "every" convolution, or the first one of each residual "block".
        mode: see ``GatedChannelTransform``.
        eps: see there.
        gate: see there.

    Returns:
        The gates, in the order of the model's convolutions.

    Raises:
        ValueError: for an unknown place, or a model that has no convolution there.
    """
    return add_gates(model, where, lambda channels: GatedChannelTransform(channels, mode, eps, gate))


def add_gates(model: nn.Module, where: Where, make: Callable[[int], G]) -> list[G]:
    """Insert gates of any kind before convolutions of a model.

    Args:
        model: see ``add_gct``.
        where: see there.
        make: makes a gate of a number of channels.

    Returns:
        The gates, in the order of the model's convolutions.

    Raises:
        ValueError: for an unknown place, or a model that has no convolution there.
    """
    if where not in ("every", "block"):
        raise ValueError(f"where must be 'every' or 'block', got {where!r}")
    places = list(_convolutions(model) if where == "every" else _first_of_blocks(model))
    if not places:
        raise ValueError(f"{type(model).__name__} has no {'convolution' if where == 'every' else 'residual block'}")
    gates = []
    for parent, name, convolution in places:
        gate = make(convolution.in_channels).to(convolution.weight.device)
        setattr(parent, name, Gated(gate, convolution))
        gates.append(gate)
    return gates


def check_gating(settings: Any) -> None:
    """Refuse settings of gates that are not there.

    Args:
        settings: with ``gating``, ``gating_where`` and ``gate_activation``.

    Raises:
        ValueError: if one of them would do nothing.
    """
    because = f"gating {settings.gating!r}"
    refuse_without_effect(settings, ["gating_where"], because, when=settings.gating == "none")
    refuse_without_effect(settings, ["gate_activation"], because, when=not settings.gating.startswith("gct"))


def make_gate(gating: Gating, channels: int, *, activation: Gate = "tanh", generator: torch.Generator) -> nn.Module:
    """Make a gate by name.

    Args:
        gating: "gct" (l2), "gct-l1", or "se", timm's squeeze-and-excitation with a sixteenth of the channels.
        channels: C.
        activation: of GCT, see ``GatedChannelTransform``.
        generator: draws the weights of "se"; GCT has nothing random.

    Raises:
        ValueError: for another name.
    """
    if gating in ("gct", "gct-l1"):
        return GatedChannelTransform(channels, "l2" if gating == "gct" else "l1", gate=activation)
    if gating != "se":
        raise ValueError(f"gating must be 'gct', 'gct-l1' or 'se', got {gating!r}")
    from timm.layers.squeeze_excite import SEModule  # a second to import, and only here needed

    gate: nn.Module = SEModule(channels)
    for module in gate.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            module.bias = nn.Parameter(torch.zeros(module.out_channels))
    return gate


def gammas(model: nn.Module) -> list[Tensor]:
    """The gamma of every GCT gate of a model, (C,) each, in the order of its modules."""
    return [module.gamma.detach() for module in model.modules() if isinstance(module, GatedChannelTransform)]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser: weight decay on everything except the beta of GCT's gates."""
    return groups_without_decay(
        model, [module.beta for module in model.modules() if isinstance(module, GatedChannelTransform)], weight_decay
    )


def groups_without_decay(model: nn.Module, free: Sequence[Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser: weight decay on all of a model's parameters except those in ``free``."""
    without = {id(parameter) for parameter in free}
    parameters = list(model.parameters())
    groups = [{"params": [each for each in parameters if id(each) not in without], "weight_decay": weight_decay}]
    if without:
        groups.append({"params": [each for each in parameters if id(each) in without], "weight_decay": 0.0})
    return groups


def _convolutions(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Conv2d]]:
    """Every convolution that has no gate yet, with the module that holds it and its name there."""
    for parent in model.modules():
        if isinstance(parent, Gated):
            continue
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d):
                yield parent, name, child


def _first_of_blocks(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Conv2d]]:
    """The first convolution of each residual block: both libraries name it conv1, next to a conv2."""
    for parent in model.modules():
        first = getattr(parent, "conv1", None)
        if isinstance(first, nn.Conv2d) and hasattr(parent, "conv2") and parent is not model:
            yield parent, "conv1", first
