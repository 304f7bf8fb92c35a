"""How long cells take, from the records that there are."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from bench.records import CellSpec, Record


class Durations:
    """Expected seconds of a cell's process.

    The median of the records of the same experiment, with as many threads on the same kind of device; else of the same
    method and task, in proportion to the epochs; else of all records. Records without a time are left out.
    """

    def __init__(self, done: Iterable[Record]) -> None:
        self._alike: dict[tuple[object, ...], list[float]] = {}
        self._rates: dict[tuple[str, str], list[float]] = {}
        self._all: list[float] = []
        for record in done:
            if record.wall_seconds is None:
                continue
            cell = record.cell
            self._alike.setdefault(_kind(cell), []).append(record.wall_seconds)
            self._rates.setdefault((cell.method, cell.task), []).append(record.wall_seconds / cell.epochs)
            self._all.append(record.wall_seconds)

    def of(self, cell: CellSpec) -> float | None:
        """For one cell; None if there is no record with a time."""
        if alike := self._alike.get(_kind(cell)):
            return statistics.median(alike)
        if rates := self._rates.get((cell.method, cell.task)):
            return statistics.median(rates) * cell.epochs
        return statistics.median(self._all) if self._all else None

    def of_all(self, cells: Sequence[CellSpec]) -> list[float] | None:
        """For each of some cells; None if there is no record with a time."""
        found = [self.of(cell) for cell in cells]
        return [seconds for seconds in found if seconds is not None] if all(found) else None


def _kind(cell: CellSpec) -> tuple[object, ...]:
    return cell.experiment, cell.threads, cell.device.partition(":")[0]
