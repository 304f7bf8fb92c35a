"""Search spaces of tuning, declared as annotations of settings.

    learning_rate: Annotated[float, Gt(0), Range(1e-4, 1e-1, log=True)] = 3e-3
    momentum: Annotated[float, Ge(0), Lt(1), Range(0.8, 0.99, when={"optimiser": ("sgd", "nesterov")})] = 0.9

A setting without one is tuned only on request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Range:
    """A range of numbers from ``low`` to ``high``.

    Attributes:
        low, high: both inclusive; low is not above high.
        log: sample on a logarithmic scale; low is then above 0.
        step: only low, low + step, ...; not with log.
        whole: whole numbers only.
        when: values of other settings for which this one has an effect; otherwise it is not tuned.

    Raises:
        ValueError: for an empty range, or options that exclude each other.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"a range goes from a lower to a higher number, got {self.low:g}..{self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range begins above 0, got {self.low:g}")
        if self.step is not None and (self.log or self.step <= 0):
            raise ValueError(f"a step is above 0, and not on a logarithmic scale, got {self.step:g}")


@dataclass(frozen=True)
class Choice:
    """One of several values; ``when`` as in ``Range``."""

    values: tuple[Any, ...]
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a choice needs a value")
