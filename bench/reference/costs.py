"""Compares a method's cost with the stored one: live bytes, and speed relative to the yardstick."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from bench.records import Record
from bench.reference import significance
from bench.reference.measured import FEWEST_SEEDS, Cost, Machine
from bench.reference.verdicts import Check

MEMORY_TOLERANCE = 0.01
"""Relative growth of live bytes allowed with another version of torch, whose operations may need scratch space."""
SLOWER_BY = 0.1
"""Smallest share by which a method must be slower to be called slower, however significant a smaller one is."""


def memory(blank: Check, good: Sequence[Record], cost: Cost | None) -> Check:
    """Compare the live bytes of a training step and of each strategy's prediction with the stored ones."""
    if cost is None:
        return replace(blank, verdict="no reference", note="no stored values for these settings")
    if any(record.environment.gpu != cost.machine.gpu for record in good):
        return replace(blank, verdict="not compared", note="the stored bytes are from another device")
    new = {"training": max(record.training.peak_live_bytes for record in good if record.training)}
    for record in good:
        for part in record.strategies:
            new[part.strategy] = max(part.peak_live_bytes, new.get(part.strategy, 0))
    stored = {"training": cost.live_bytes, **cost.predict_live_bytes}
    tolerance = 0.0 if all(record.environment.torch == cost.machine.torch for record in good) else MEMORY_TOLERANCE
    known = replace(
        blank,
        value=new["training"],
        seeds=len(good),
        reference=cost.live_bytes,
        limit=cost.live_bytes * (1 + tolerance),
    )
    for name, size in new.items():
        if name in stored and size > stored[name] * (1 + tolerance):
            what = "a training step" if name == "training" else f"predicting by {name}"
            return replace(
                known, verdict="more memory", note=f"{what} needs {size:,} live bytes, stored {stored[name]:,}"
            )
    less = any(size < stored.get(name, size) for name, size in new.items())
    return replace(known, note="less than stored: update the reference" if less else "")


def speed(blank: Check, good: Sequence[Record], cost: Cost | None, cells: int) -> Check:
    """Test the speed relative to the yardstick, on logarithms, if it is comparable."""
    if cost is None or cost.yardstick is None or len(cost.speeds) < FEWEST_SEEDS:
        return replace(blank, verdict="no reference", note="no stored speeds for these settings")
    races = [record.training.relative for record in good if record.training and record.training.relative]
    known = replace(
        blank, seeds=len(races), reference=math.exp(_mean_log(cost.speeds)), reference_seeds=len(cost.speeds)
    )
    if any(record.cell.yardstick != cost.yardstick for record in good):
        return replace(known, verdict="not compared", note="the stored speeds are relative to another yardstick")
    if len(races) < len(good):
        return replace(known, verdict="not compared", note="a record has no speed relative to the yardstick")
    known = replace(known, value=math.exp(_mean_log([race.ratio for race in races])))
    if any(Machine.of(record.environment) != cost.machine for record in good):
        return replace(known, verdict="not compared", note="the stored speeds are from another machine")
    if any(record.shared for record in good):
        return replace(known, verdict="not compared", note="other cells ran on the machine")
    if any(race.noisy for race in races):
        return replace(known, verdict="not compared", note="the machine was busy")
    stored, new = [math.log(ratio) for ratio in cost.speeds], [math.log(race.ratio) for race in races]
    # Two equal learners differ by this much here and now: a smaller difference means nothing.
    least = max(abs(math.log(race.same)) for race in races)
    margin = significance.mean_margin(stored, new, significance.sidak(significance.FALSE_ALARMS, cells), least)
    center, mean = statistics.fmean(stored), statistics.fmean(new)
    margin = max(margin, -math.log(1 - SLOWER_BY))
    known = replace(known, limit=math.exp(center - margin), note=f"relative to {cost.yardstick.method}")
    if mean < center - margin:
        return replace(
            known,
            verdict="slower",
            note=f"{1 - math.exp(mean - center):.0%} slower, relative to {cost.yardstick.method}",
        )
    return known


def _mean_log(ratios: Sequence[float]) -> float:
    return statistics.fmean(math.log(ratio) for ratio in ratios)
