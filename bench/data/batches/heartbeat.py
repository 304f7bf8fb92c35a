"""A heartbeat of the reader, to tell a hung reader from a slow one and name the sample it hangs on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

SILENCE_S = 3.5
"""Seconds that one sample may take before its reader counts as hung: an error follows within five seconds."""
POLL_S = 0.2


@dataclass
class Heartbeat:
    """The sample begun last, and when.

    Attributes:
        name: describes a sample for an error, from its position in the split.
        position: of the sample; -1 before the first.
    """

    name: Callable[[int], str]
    position: int = -1
    since: float = field(default_factory=time.monotonic)

    def beat(self, position: int) -> None:
        """Record that a reader begins a sample."""
        self.position = position
        self.since = time.monotonic()

    def silent_for(self) -> float:
        """Seconds since the last beat."""
        return time.monotonic() - self.since

    def sample(self) -> str:
        """Description of the current sample."""
        return self.name(self.position) if self.position >= 0 else "its first sample"
