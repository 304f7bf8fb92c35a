"""Energy from hardware counters, where readable: the GPU's (NVML) or the processors' (RAPL)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch

_POWERCAP = Path("/sys/class/powercap")


class EnergyCounter(Protocol):
    """Measures joules since the last restart.

    Attributes:
        note: why there is no value, None if there is one.
    """

    note: str | None

    def restart(self) -> None:
        """Begin a segment."""

    def joules(self) -> float | None:
        """Energy of the segment, or None."""


def counter(device: torch.device) -> EnergyCounter:
    """The counter of the device that trains: of the GPU alone on CUDA, else of all processor packages."""
    return GPUEnergy(device) if device.type == "cuda" else ProcessorEnergy()


class ProcessorEnergy:
    """Energy of all processor packages, from the system's RAPL counters."""

    def __init__(self, root: Path = _POWERCAP) -> None:
        self._packages = sorted(root.glob("intel-rapl:?")) + sorted(root.glob("intel-rapl:??"))
        self._before: list[int] = []
        self.note: str | None = None if self._packages else "no energy counter on this machine"
        self.restart()

    def restart(self) -> None:
        """Begin a segment."""
        if self.note is None:
            self._before = self._read()

    def joules(self) -> float | None:
        """Energy of the segment, or None; corrected if a counter overflowed once in between."""
        after = self._read() if self.note is None else []
        if self.note is not None:
            return None
        total = 0
        for package, start, end in zip(self._packages, self._before, after, strict=True):
            span = int((package / "max_energy_range_uj").read_text())
            total += end - start if end >= start else end - start + span
        return total / 1e6

    def _read(self) -> list[int]:
        try:
            return [int((package / "energy_uj").read_text()) for package in self._packages]
        except OSError:
            self.note = "the energy counter is not readable by this user"
            return []


class GPUEnergy:
    """Energy of one GPU, from NVML's total energy counter (Volta and newer; needs the package nvidia-ml-py)."""

    def __init__(self, device: torch.device) -> None:
        self.note: str | None = None
        self._before = 0
        try:
            import pynvml

            pynvml.nvmlInit()
            uuid = torch.cuda.get_device_properties(device).uuid
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
            self._read: Callable[[], int] = lambda: int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        except ImportError:
            self.note = "the GPU's energy counter needs the package nvidia-ml-py"
        except Exception as error:  # noqa: BLE001 -- NVML's errors, or no driver: training continues without it
            self.note = f"the GPU's energy counter cannot be read: {error}"
        self.restart()

    def restart(self) -> None:
        """Begin a segment."""
        if self.note is None:
            self._before = self._millijoules()

    def joules(self) -> float | None:
        """Energy of the segment, or None."""
        if self.note is not None:
            return None
        used = self._millijoules() - self._before
        return None if self.note is not None else used / 1e3

    def _millijoules(self) -> int:
        try:
            return self._read()
        except Exception as error:  # noqa: BLE001 -- see above
            self.note = f"the GPU's energy counter cannot be read: {error}"
            return 0
