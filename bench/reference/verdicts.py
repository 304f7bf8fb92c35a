"""One verdict of a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

What = Literal["golden", "accuracy", "memory", "speed"]
Verdict = Literal[
    "ok",
    "regression",
    "inputs differ",
    "losses differ",
    "results differ",
    "more memory",
    "slower",
    "too good",
    "failed",
    "not measured",
    "no reference",
    "not compared",
]
RED: frozenset[Verdict] = frozenset(
    {"regression", "inputs differ", "losses differ", "results differ", "more memory", "slower"}
)
"""Verdicts that fail a check."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One verdict. Accuracies and limits in per cent, memory in bytes, speed as a ratio to the yardstick's.

    Attributes:
        strategy: empty if the verdict is on the whole cell.
        value: the mean of the new values.
        limit: lower limit of the value (memory: upper).
        detects: smallest drop, in points, that an accuracy check finds and confirms with probability 80 %.
    """

    task: str
    method: str
    what: What
    strategy: str
    experiment: str
    verdict: Verdict
    value: float | None = None
    seeds: int = 0
    reference: float | None = None
    reference_seeds: int = 0
    limit: float | None = None
    detects: float | None = None
    note: str = ""
