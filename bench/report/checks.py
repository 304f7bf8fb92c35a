"""Prints the verdicts of a check, in every format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields

from rich.console import Console

from bench import tables
from bench.reference.check import USEFUL_DROP, is_useful
from bench.reference.power import POWER
from bench.reference.verdicts import Check


def render(checks: Sequence[Check], form: tables.Format, console: Console) -> None:
    """Print the verdicts of a check."""
    if form == "json":
        console.file.write(json.dumps([asdict(check) for check in checks], indent=1) + "\n")
        return
    if form == "csv":
        header = [column.name for column in fields(Check)]
        console.file.write(tables.to_csv(header, [list(asdict(check).values()) for check in checks]))
        return
    header = ["task", "method", "what", "value", "reference", "limit", "detects a drop of", "verdict", "note"]
    lines = [
        [
            check.task,
            check.method,
            f"{check.what} {check.strategy}".strip(),
            _figure(check, check.value, check.seeds),
            _figure(check, check.reference, check.reference_seeds),
            _figure(check, check.limit),
            _figure(check, check.detects),
            check.verdict,
            check.note,
        ]
        for check in checks
    ]
    tables.print_table(console, form, "check against measured references", header, lines, power(checks))


def _figure(check: Check, value: float | None, seeds: int = 0) -> str:
    """Format a value of a check in its unit: per cent, MiB, or times the yardstick's speed."""
    if value is None:
        return "-"
    shown = {"memory": f"{value / 2**20:,.2f} MiB", "speed": f"{value:.2f} x"}.get(check.what, f"{value:.2f} %")
    return shown + (f" (n={seeds})" if seeds > 1 and check.what != "memory" else "")


def power(checks: Sequence[Check]) -> list[str]:
    """Describe the drops that the suite can detect."""
    judged = [check for check in checks if check.what == "accuracy" and check.limit is not None]
    if not judged:
        return []
    drops = sorted((check.detects, _row(check)) for check in judged if check.detects is not None)
    listed = ", ".join(f"{points:.1f} points in {row}" for points, row in drops) or "no size"
    notes = [f"With probability {POWER:.0%} or more this suite detects and confirms a drop of {listed}."]
    if useless := [_row(check) for check in judged if not is_useful(check)]:
        notes.append(f"No drop of {USEFUL_DROP:.0f} points or fewer is detected in {', '.join(useless)}.")
    return notes


def _row(check: Check) -> str:
    return f"{check.method}/{check.strategy}"
