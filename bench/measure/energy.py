"""Energy from the processor's own counter (RAPL), where the system lets one read it."""

from __future__ import annotations

from pathlib import Path

_POWERCAP = Path("/sys/class/powercap")


class EnergyCounter:
    """Joules of all processor packages since the counter was made.

    Attributes:
        note: why there is no figure, or None if there is one.
    """

    def __init__(self, root: Path = _POWERCAP) -> None:
        self._packages = sorted(root.glob("intel-rapl:?")) + sorted(root.glob("intel-rapl:??"))
        self.note: str | None = None
        self._before: list[int] = []
        if not self._packages:
            self.note = "no energy counter on this machine"
            return
        try:
            self._before = self._read()
        except OSError:
            self.note = "the energy counter may not be read by this user"

    def joules(self) -> float | None:
        """Energy since the start, or None; a counter that ran over once in between is corrected."""
        if self.note is not None:
            return None
        total = 0
        for package, before, after in zip(self._packages, self._before, self._read(), strict=True):
            span = int((package / "max_energy_range_uj").read_text())
            total += after - before if after >= before else after - before + span
        return total / 1e6

    def _read(self) -> list[int]:
        return [int((package / "energy_uj").read_text()) for package in self._packages]
