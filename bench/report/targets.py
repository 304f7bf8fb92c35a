"""Cost of an accuracy: time, work and energy until a run first reached it, and accuracy at equal time.

All from the epochs of a record. The accuracy is that on validation data, since test data are used only after the last
epoch; a target counts as reached at the end of the first epoch that has it.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console

from bench import tables
from bench.records import Found, Record
from bench.records.names import labels_of_cells

HEADER = ["method", "strategy", "seeds", "reached by", "epochs", "minutes", "TFLOP", "kJ"]


@dataclass(frozen=True)
class Reached:
    """What a run had used when it reached a target.

    Attributes:
        epoch: counted from 1.
        seconds: of training, without evaluation.
        flops: of training.
        joules: None if it was not measured in all of these epochs.
    """

    epoch: int
    seconds: float
    flops: float
    joules: float | None


def reached(record: Record, strategy: str, target: float) -> Reached | None:
    """When a strategy first had a validation accuracy of ``target`` per cent; None if it never had."""
    if record.training is None:
        return None
    seconds, images, joules = 0.0, 0, 0.0
    for epoch in record.epochs:
        seconds, images = seconds + epoch.seconds, images + epoch.images
        joules += math.nan if epoch.energy_joules is None else epoch.energy_joules
        if epoch.validation.get(strategy, -math.inf) >= target:
            energy = None if math.isnan(joules) else joules
            return Reached(epoch.epoch, seconds, images * record.training.flops_per_image, energy)
    return None


def accuracy_at(record: Record, strategy: str, seconds: float) -> float | None:
    """Validation accuracy, in per cent, after the last epoch that ended within a time of training; None before that."""
    ends = itertools.accumulate(epoch.seconds for epoch in record.epochs)
    within = [epoch for epoch, end in zip(record.epochs, ends, strict=True) if end <= seconds]
    return within[-1].validation.get(strategy) if within else None


def shortest(records: Sequence[Record]) -> float:
    """Seconds of training that all of the records have had."""
    return min(sum(epoch.seconds for epoch in record.epochs) for record in records)


def render(found: Found, target: float, form: tables.Format, console: Console) -> None:
    """Print a table per task: means over the seeds that reached the target, and the accuracy of all at equal time."""
    good = [record for record in found.records if record.status == "ok" and record.training is not None]
    for number, task in enumerate(sorted({record.cell.task for record in good})):
        of_task = [record for record in good if record.cell.task == task]
        time = shortest(of_task)
        header = [*HEADER, f"% at {time / 60:.1f} min"]
        if form == "rich":
            console.file.write("\n" if number else "")
        title = f"{task}: cost of {target:g} % on validation data"
        tables.render(title, header, _lines(of_task, target, time), form, console)


def _lines(records: Sequence[Record], target: float, time: float) -> list[list[str | float | None]]:
    names = labels_of_cells([record.cell for record in records])
    groups: dict[tuple[str, str], list[Record]] = {}
    for name, record in sorted(zip(names, records, strict=True), key=lambda pair: pair[0]):
        for part in record.strategies:
            groups.setdefault((name, part.strategy), []).append(record)
    return [_line(name, strategy, members, target, time) for (name, strategy), members in groups.items()]


def _line(name: str, strategy: str, records: Sequence[Record], target: float, time: float) -> list[str | float | None]:
    met = [each for each in (reached(record, strategy, target) for record in records) if each is not None]
    at_time = [accuracy for record in records if (accuracy := accuracy_at(record, strategy, time)) is not None]

    def mean(of: Callable[[Reached], float | None], unit: float, digits: int) -> float | None:
        values = [of(each) for each in met]
        known = [value for value in values if value is not None]
        return round(statistics.fmean(known) / unit, digits) if known and len(known) == len(values) else None

    return [
        name,
        strategy,
        len(records),
        len(met),
        mean(lambda each: each.epoch, 1, 1),
        mean(lambda each: each.seconds, 60, 2),
        mean(lambda each: each.flops, 1e12, 2),
        mean(lambda each: each.joules, 1e3, 2),
        round(statistics.fmean(at_time), 2) if at_time else None,
    ]
