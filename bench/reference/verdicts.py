"""One verdict of a check, and what all of them say."""

from __future__ import annotations

from collections.abc import Sequence
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


def conclusion(checks: Sequence[Check]) -> str:
    """One line that says whether a suite's results are as stored, or which are not, and why.

    "not compared" counts as agreement: a speed cannot be judged on another machine.
    """
    compared = [check for check in checks if check.verdict != "not compared"]
    off = [check for check in compared if check.verdict != "ok"]
    if not off:
        return f"as stored: {len(compared)} verdicts, all ok"
    worst = min(off, key=lambda check: (check.verdict not in RED, check.verdict != "failed"))
    others = f", and {len(off) - 1} more" if len(off) > 1 else ""
    what = f"{worst.method}/{worst.strategy}" if worst.strategy else f"{worst.method} {worst.what}"
    sentence = f"{what}: {worst.verdict}" + (f" ({worst.note})" if worst.note else "")
    if worst.verdict in RED:
        return f"not as stored: {sentence}{others}"
    return f"not known whether as stored: {sentence}{others}"
