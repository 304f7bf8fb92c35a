"""Watchers of other packages receive what happens to cells while they run, beside the display.

A package registers one in the entry-point group ``bench.watchers``: a callable that gets the suite's name and the
folder of runs, and returns an object with any of the methods of ``bench.running.local.Watcher``, and ``close``. What it
raises costs no cell: the display says it once, and that watcher receives nothing more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import registry
from bench.records import CellSpec
from bench.records.claims import Holder
from bench.running.local import Outcome, Watcher

GROUP = "bench.watchers"


class _Several:
    """Passes events on to a display, and to watchers of other packages."""

    def __init__(self, display: Watcher, others: dict[str, Any], say: Callable[[str], None]) -> None:
        self._display = display
        self._others = others
        self._say = say

    def cell_started(self, cell: CellSpec, index: int, total: int) -> None:
        """Pass it on."""
        self._display.cell_started(cell, index, total)
        self.tell("cell_started", cell, index, total)

    def cell_event(self, cell: CellSpec, event: dict[str, Any]) -> None:
        """Pass it on."""
        self._display.cell_event(cell, event)
        self.tell("cell_event", cell, event)

    def cell_finished(self, cell: CellSpec, outcome: Outcome) -> None:
        """Pass it on."""
        self._display.cell_finished(cell, outcome)
        self.tell("cell_finished", cell, outcome)

    def waiting(self, held: Mapping[str, Holder]) -> None:
        """Pass it on."""
        self._display.waiting(held)
        self.tell("waiting", held)

    def tell(self, what: str, *arguments: Any) -> None:
        """Call a method of every other watcher that has it."""
        for name, watcher in list(self._others.items()):
            method = getattr(watcher, what, None)
            if method is None:
                continue
            try:
                method(*arguments)
            except Exception as error:  # noqa: BLE001 -- a plug-in may fail in any way; hours of training must not
                self._say(f"note: watcher {name!r} failed in {what}, and is left out: {type(error).__name__}: {error}")
                del self._others[name]


@contextlib.contextmanager
def beside(
    display: Watcher, names: Sequence[str], suite: str, folder: Path, say: Callable[[str], None]
) -> Iterator[Watcher]:
    """A display together with watchers of other packages, which are closed at the end.

    Args:
        display: receives everything first.
        names: of the watchers.
        suite: the suite's name.
        folder: of the runs.
        say: prints a line.

    Raises:
        UserError: if one does not exist, or cannot be imported; nothing has run then.
    """
    makers = {name: registry.load(GROUP, "watcher", name) for name in names}
    others: dict[str, Any] = {}
    for name, make in makers.items():
        try:
            others[name] = make(suite, folder)
        except Exception as error:  # noqa: BLE001 -- as above
            say(f"note: watcher {name!r} cannot start, and is left out: {type(error).__name__}: {error}")
    several = _Several(display, others, say)
    try:
        yield several
    finally:
        several.tell("close")
