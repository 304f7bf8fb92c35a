"""Signs of life of whoever reads samples, so that a silent one can be told from a slow one, and by its sample."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

SILENCE_S = 3.5
"""How long one sample may take before its reader counts as silent: an error follows within five seconds."""
POLL_S = 0.2


@dataclass
class Pulse:
    """The sample that was begun last, and when.

    Attributes:
        name: what an error calls a sample, from its position in the split.
        position: of the sample; -1 before the first.
    """

    name: Callable[[int], str]
    position: int = -1
    since: float = field(default_factory=time.monotonic)

    def beat(self, position: int) -> None:
        """A reader begins with a sample."""
        self.position = position
        self.since = time.monotonic()

    def silent_for(self) -> float:
        """Seconds since the last beat."""
        return time.monotonic() - self.since

    def sample(self) -> str:
        """The sample at work, in words."""
        return self.name(self.position) if self.position >= 0 else "its first sample"
