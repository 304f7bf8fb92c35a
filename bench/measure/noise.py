"""Other load on the machine during a segment: it makes clean-looking measurements wrong."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bench.inputs import count_in
from bench.records import Noise

PRESSURE_LIMIT = 20.0
"""Per cent of the segment during which some task waited for a processor; above it, the segment is noisy."""
STEAL_LIMIT = 5.0
"""Per cent of processor time taken by other machines on the same host; above it, the segment is noisy."""

TRIES = "BENCH_TRIES"
"""Environment variable with the maximum number of times a segment is measured until one is undisturbed."""
DEFAULT_TRIES = 3
T = TypeVar("T")

_PRESSURE = Path("/proc/pressure/cpu")
_STAT = Path("/proc/stat")
_STEAL_FIELD = 7


class NoiseMeter:
    """Reads the system's counters when created and on demand."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._pressure = _pressure_microseconds()
        self._ticks = _cpu_ticks()

    def read(self) -> Noise:
        """The noise since creation."""
        elapsed = max(1e-9, time.monotonic() - self._start)
        pressure = steal = None
        after = _pressure_microseconds()
        if after is not None and self._pressure is not None:
            pressure = 100 * (after - self._pressure) / 1e6 / elapsed
        ticks = _cpu_ticks()
        if ticks is not None and self._ticks is not None:
            total = sum(ticks) - sum(self._ticks)
            steal = 100 * (ticks[_STEAL_FIELD] - self._ticks[_STEAL_FIELD]) / total if total else 0.0
        noisy = (pressure or 0.0) > PRESSURE_LIMIT or (steal or 0.0) > STEAL_LIMIT
        return Noise(cpu_pressure=pressure, steal=steal, noisy=noisy)


def tries() -> int:
    """Maximum number of times that a segment is measured.

    Raises:
        UserError: if the environment variable is not a number from 1.
    """
    return count_in(TRIES) or DEFAULT_TRIES


def quietest(segment: Callable[[], T]) -> tuple[T, Noise]:
    """Run a segment until undisturbed, at most ``tries()`` times; the least disturbed result and its noise."""
    most = tries()
    runs: list[tuple[T, Noise]] = []
    while len(runs) < most and not (runs and not runs[-1][1].noisy):
        meter = NoiseMeter()
        result = segment()
        runs.append((result, meter.read()))
    return min(runs, key=lambda run: (run[1].noisy, (run[1].cpu_pressure or 0.0) + (run[1].steal or 0.0)))


def _pressure_microseconds() -> int | None:
    try:
        match = re.search(r"^some .*total=(\d+)", _PRESSURE.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match.group(1)) if match else None


def _cpu_ticks() -> list[int] | None:
    try:
        fields = _STAT.read_text().splitlines()[0].split()[1:9]
    except (OSError, IndexError):
        return None
    return [int(field) for field in fields] if len(fields) > _STEAL_FIELD else None
