"""All meters of a training segment, read together."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bench.measure import clock, energy
from bench.measure.memory import PeakMemory
from bench.measure.noise import NoiseMeter
from bench.records import Noise


@dataclass(frozen=True)
class Reading:
    """Measurements of a segment; see the fields of the same name in ``bench.records.EpochRecord``."""

    seconds: float
    peak_bytes: int | None
    peak_reserved_bytes: int | None
    energy_joules: float | None
    noise: Noise


class Meters:
    """Clock, memory, energy and noise of one process's training; create it just before training begins."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._memory = PeakMemory(device)
        self._energy = energy.counter(device)
        self._noise = NoiseMeter()
        self._start = clock.now(device)

    def start(self) -> float:
        """Begin a segment; returns the clock's time."""
        self._memory.restart()
        self._energy.restart()
        self._noise = NoiseMeter()
        return self.restart_clock()

    def restart_clock(self) -> float:
        """Restart the clock, but no other meter, within a segment; returns the clock's time."""
        self._start = clock.now(self._device)
        return self._start

    def elapsed(self) -> float:
        """Seconds on the clock, after all work queued on the device is done."""
        return clock.now(self._device) - self._start

    def read(self) -> Reading:
        """Read all meters for the segment so far."""
        return Reading(
            seconds=self.elapsed(),
            peak_bytes=self._memory.peak(),
            peak_reserved_bytes=self._memory.reserved(),
            energy_joules=self._energy.joules(),
            noise=self._noise.read(),
        )
