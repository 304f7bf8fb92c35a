"""Optimisers and learning-rate schedules, shared by all methods so that a comparison can hold them equal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Protocol, get_args

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from asge.common.marks import Choice, Range
from asge.common.muon import Muon
from asge.common.tensors import in_full_precision

OptimiserName = Literal["adamw", "adam", "sgd", "nesterov", "muon"]
ScheduleName = Literal[
    "one-cycle", "cosine", "flat-linear", "milestones", "steps", "late-steps", "imagenet-steps", "constant"
]
OptimiserSetting = Annotated[OptimiserName, Choice(("adamw", "sgd", "muon"))]
LearningRate = Annotated[float, Gt(0), Range(1e-4, 1e-1, log=True)]
WeightDecay = Annotated[float, Ge(0), Range(1e-6, 1e-1, log=True)]
Momentum = Annotated[float, Ge(0), Lt(1), Range(0.8, 0.99, when={"optimiser": ("sgd", "nesterov", "muon")})]
ScheduleSetting = Annotated[ScheduleName, Choice(("one-cycle", "cosine", "flat-linear", "constant"))]

ONE_CYCLE_WARM_UP = 0.25
"""Share of training during which one-cycle rises to its peak."""
STEPS: dict[str, tuple[float, tuple[float, ...]]] = {
    "milestones": (0.25, (0.5, 0.75, 0.89, 0.94)),
    "steps": (0.1, (3 / 7, 5 / 7)),
    "late-steps": (0.1, (0.6, 0.75, 0.9)),
    "imagenet-steps": (0.1, (0.3, 0.6, 0.9)),
}
"""Step schedules: a factor, and the shares of training after which the rate is multiplied by it. Nøkland & Eidnes',
ConvNet-AIG's (epochs 150 and 250 of 350), batch-shaping's (300, 375 and 450 of 500), ConvNet-AIG's on ImageNet (30, 60
and 90 of 100)."""


class OptimiserSettings(Protocol):
    """The settings that every method with one of this module's optimisers has."""

    @property
    def optimiser(self) -> OptimiserName: ...  # noqa: D102
    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def weight_decay(self) -> float: ...  # noqa: D102
    @property
    def momentum(self) -> float: ...  # noqa: D102
    @property
    def schedule(self) -> ScheduleName: ...  # noqa: D102


def optimiser_in_words(settings: Mapping[str, Any], *parts: str) -> str:
    """Describe an optimiser and the first weights it gets, in words: "adamw 0.003, decay 0.01, one-cycle".

    Args:
        settings: by name, as in a record.
        parts: parts of a network that may have a rate of their own, the setting ``PART_learning_rate``.
    """
    name, rate, decay = (settings.get(key) for key in ("optimiser", "learning_rate", "weight_decay"))
    momentum = f", momentum {settings.get('momentum')}" if name in ("sgd", "nesterov", "muon") else ""
    rates = ""
    for part in parts:
        own_rate, own_decay = settings.get(f"{part}_learning_rate"), settings.get(f"{part}_weight_decay")
        rates += f", {part} {own_rate}" if own_rate is not None else ""
        if own_decay != (0.0 if part == "gate" else None):  # gates have none unless it is said
            rates += f", {part} decay {'as all' if own_decay is None else own_decay}"
    by_epoch = " by epoch" if settings.get("schedule_by") == "epoch" else ""
    end = f" to {settings.get('min_learning_rate')}" if settings.get("min_learning_rate") else ""
    start = ", first layer whitened" if settings.get("first_layer") == "whitened" else ""
    return f"{name} {rate}, decay {decay}, {settings.get('schedule')}{by_epoch}{end}{momentum}{rates}{start}"


def schedule_factor(schedule: ScheduleName, progress: float) -> float:
    """The learning rate as a share of its peak, at ``progress`` from 0 (start) to 1 (end of training).

    constant: 1. cosine: half a cosine from 1 to 0. flat-linear: 1 for the first half, then linear to 0. one-cycle:
    linear from 1/25 to 1 over the first quarter, then half a cosine to 0. Step schedules: 1, multiplied by a factor
    at each of their ``STEPS``.

    Raises:
        ValueError: for an unknown schedule.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "flat-linear":
        return min(1.0, 2 * (1 - progress))
    if schedule in STEPS:
        factor, shares = STEPS[schedule]
        return float(factor ** sum(progress >= share for share in shares))
    if schedule == "one-cycle":
        if progress < ONE_CYCLE_WARM_UP:
            return 0.04 + 0.96 * progress / ONE_CYCLE_WARM_UP
        return 0.5 * (1 + math.cos(math.pi * (progress - ONE_CYCLE_WARM_UP) / (1 - ONE_CYCLE_WARM_UP)))
    raise ValueError(f"schedule must be one of {', '.join(get_args(ScheduleName))}, got {schedule!r}")


class ScheduledOptimiser:
    """A PyTorch optimiser whose learning rate follows a schedule over a known number of steps.

    Updates work parameter by parameter: one instance over the parameters of many blocks equals one per block. Those
    without a gradient are skipped. Parameters may come in groups, as PyTorch's optimisers take them, with their own
    weight decay and peak learning rate ("lr"); all share the schedule.

    Args:
        parameters: tensors or groups.
        settings: name, peak rate, weight decay, momentum and schedule.
        total_steps: steps of the whole training.
        hold: steps between two changes of the rate, such as those of an epoch.
        min_rate: the rate where the schedule is at 0, as PyTorch's ``eta_min``.

    Raises:
        ValueError: for an unknown optimiser, nesterov without momentum, or a minimum above the peak.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        settings: OptimiserSettings,
        total_steps: int,
        *,
        hold: int = 1,
        min_rate: float = 0.0,
    ) -> None:
        if settings.optimiser not in get_args(OptimiserName):
            valid = ", ".join(get_args(OptimiserName))
            raise ValueError(f"optimiser must be one of {valid}, got {settings.optimiser!r}")
        if settings.optimiser == "nesterov" and settings.momentum == 0:
            raise ValueError("optimiser nesterov needs a momentum above 0, got 0")
        if min_rate > settings.learning_rate:
            raise ValueError(
                f"the minimum of the learning rate must not be above its peak, {settings.learning_rate}: got {min_rate}"
            )
        self._hold = max(1, hold)
        self._min_rate = min_rate
        self._schedule: ScheduleName = settings.schedule
        self._total = max(1, total_steps)
        self._step = 0
        self._parameters: list[Any] = list(parameters)
        self._settings = settings

    @classmethod
    def with_head(
        cls,
        body: Iterable[Tensor],
        head: Iterable[Tensor],
        settings: OptimiserSettings,
        total_steps: int,
        head_rate: float | None,
        head_decay: float | None = None,
    ) -> ScheduledOptimiser:
        """For a network and its final linear layer, with that layer's own peak rate and decay; None for the body's."""
        groups: list[dict[str, Any]] = [{"params": list(body)}, {"params": list(head)}]
        if head_rate is not None:
            groups[1]["lr"] = head_rate
        if head_decay is not None:
            groups[1]["weight_decay"] = head_decay
        return cls(groups, settings, total_steps)

    @cached_property
    def _made(self) -> list[tuple[torch.optim.Optimizer, list[float]]]:
        """The optimisers, each with its groups' peak rates, made on first use.

        The first optimiser of a process imports PyTorch's compiler, which takes seconds: a process that only inspects a
        learner does not wait for it.
        """
        made = _make(self._parameters, self._settings)
        return [(optimiser, [group["lr"] for group in optimiser.param_groups]) for optimiser in made]

    def zero_grad(self) -> None:
        """Clear all gradients."""
        for optimiser, _ in self._made:
            optimiser.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Update the parameters once, at the schedule's current rate."""
        changed = self._step - self._step % self._hold
        factor = schedule_factor(self._schedule, min(1.0, changed / self._total))
        for optimiser, peaks in self._made:
            for group, peak in zip(optimiser.param_groups, peaks, strict=True):
                group["lr"] = self._min_rate + (peak - self._min_rate) * factor
            with in_full_precision(optimiser.param_groups[0]["params"][0].device):
                optimiser.step()
        self._step += 1

    def state_dict(self) -> dict[str, Any]:
        """The optimisers' states and the number of steps done."""
        return {"step": self._step, "optimisers": [optimiser.state_dict() for optimiser, _ in self._made]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a ``state_dict``."""
        self._step = state["step"]
        for (optimiser, _), own in zip(self._made, state["optimisers"], strict=True):
            optimiser.load_state_dict(own)


def _make(parameters: list[Any], settings: OptimiserSettings) -> list[torch.optim.Optimizer]:
    """The optimiser; for Muon two, of convolution kernels and of all else, as far as there are some."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimiser == "muon":
        kernels, others = _kernels_and_others(parameters)
        made: list[torch.optim.Optimizer] = []
        if kernels:
            made.append(Muon(kernels, rate, momentum=settings.momentum, weight_decay=decay))
        if others:
            made.append(torch.optim.AdamW(others, rate, weight_decay=decay, fused=True))
        return made
    if settings.optimiser == "adamw":
        return [torch.optim.AdamW(parameters, rate, weight_decay=decay, fused=True)]
    if settings.optimiser == "adam":
        return [torch.optim.Adam(parameters, rate, weight_decay=decay, fused=True)]
    nesterov = settings.optimiser == "nesterov"
    return [
        torch.optim.SGD(parameters, rate, momentum=settings.momentum, weight_decay=decay, nesterov=nesterov, fused=True)
    ]


def _kernels_and_others(parameters: list[Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The groups of a list of tensors or groups, those of convolution kernels apart, without empty ones."""
    given = parameters if parameters and isinstance(parameters[0], dict) else [{"params": parameters}]
    kernels: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for group in given:
        tensors = list(group["params"])
        for groups, wanted in ((kernels, True), (others, False)):
            chosen = [each for each in tensors if (each.dim() == 4) is wanted]
            if chosen:
                groups.append({**group, "params": chosen})
    return kernels, others
