"""Energy from the processor's own counter (RAPL), where the system lets one read it."""

from __future__ import annotations

from pathlib import Path

_POWERCAP = Path("/sys/class/powercap")


class EnergyCounter:
    """Joules of all processor packages since the last start.

    Attributes:
        note: why there is no figure, or None if there is one.
    """

    def __init__(self, root: Path = _POWERCAP) -> None:
        self._packages = sorted(root.glob("intel-rapl:?")) + sorted(root.glob("intel-rapl:??"))
        self._before: list[int] = []
        self.note = None if self._packages else "no energy counter on this machine"
        self.restart()

    def restart(self) -> None:
        """Begin a segment."""
        if self.note is None:
            self._before = self._read()

    def joules(self) -> float | None:
        """Energy of the segment, or None; a counter that ran over once in between is corrected."""
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
            self.note = "the energy counter may not be read by this user"
            return []
