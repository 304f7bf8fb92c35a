"""Progress of cells: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from bench.records import CellSpec
from bench.records.claims import Holder
from bench.running.local import Outcome


def watcher(shown: Console, suite: str, named: Mapping[str, str]) -> PlainWatcher | LiveWatcher:
    """The display that fits the console, for cells with these ``titles``."""
    live = shown.is_terminal or (shown.is_jupyter and find_spec("ipywidgets") is not None)
    return LiveWatcher(shown, suite, named) if live else PlainWatcher(shown, suite, named)


def console() -> Console:
    """The console of progress: standard error, so that standard output has only data; in a notebook, its output."""
    shown = Console(stderr=True)
    return Console() if shown.is_jupyter else shown


class PlainWatcher:
    """Prints one line per epoch and per cell; where several cells run, each line says of which it is."""

    def __init__(self, console: Console, suite: str, named: Mapping[str, str]) -> None:
        self._console = console
        self._suite = suite
        self._titles = named
        self._running: set[str] = set()

    def __enter__(self) -> PlainWatcher:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def cell_started(self, cell: CellSpec, index: int, total: int) -> None:
        """Print the cell's number and title."""
        self._running.add(cell.id)
        self._print(
            f"{self._suite} [{index + 1}/{total}] {self._titles[cell.id]}: {cell.epochs} epochs, {cell.loader} loader"
        )

    def cell_event(self, cell: CellSpec, event: dict[str, Any]) -> None:
        """Print a line at the end of an epoch."""
        if event["event"] == "epoch":
            of = f"{self._titles[cell.id]}: " if len(self._running) > 1 else ""
            self._print(f"  {of}epoch {event['epoch']}/{cell.epochs}: {describe_epoch(event)}")

    def cell_finished(self, cell: CellSpec, outcome: Outcome) -> None:
        """Print the result of the cell."""
        self._running.discard(cell.id)
        self._print(f"  {describe_outcome(self._titles[cell.id], outcome)}")

    def waiting(self, held: Mapping[str, Holder]) -> None:
        """Print who runs the cells that are left."""
        for identity, holder in held.items():
            self._print(f"  waiting for {self._titles[identity]}, which {holder} runs")

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class LiveWatcher:
    """Shows a bar for the cells of the suite, and one for each that runs; every epoch leaves a line above."""

    def __init__(self, console: Console, suite: str, named: Mapping[str, str]) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", table_column=Column(ratio=3)),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
        )
        self._titles = named
        self._plain = PlainWatcher(self._progress.console, suite, named)
        self._suite: TaskID = self._progress.add_task(f"suite {suite}", total=len(named), rate="cells")
        self._cells: dict[str, TaskID] = {}

    def __enter__(self) -> LiveWatcher:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def cell_started(self, cell: CellSpec, index: int, total: int) -> None:
        """Show a bar for the cell."""
        self._plain.cell_started(cell, index, total)
        self._cells[cell.id] = self._progress.add_task(self._titles[cell.id], total=cell.epochs, rate="starting")

    def cell_event(self, cell: CellSpec, event: dict[str, Any]) -> None:
        """Move the cell's bar."""
        self._plain.cell_event(cell, event)
        bar = self._cells.get(cell.id)
        if bar is None:
            return
        if event["event"] == "epoch":
            self._progress.update(bar, completed=event["epoch"], rate=_rate(event))
        elif event["event"] == "step":
            description = f"{self._titles[cell.id]} epoch {event['epoch']}"
            self._progress.update(bar, description=description, completed=event["epochs_done"], rate=_rate(event))
        else:
            self._progress.update(bar, rate=event["event"])

    def cell_finished(self, cell: CellSpec, outcome: Outcome) -> None:
        """Close the cell's bar and move the suite's."""
        self._plain.cell_finished(cell, outcome)
        if cell.id in self._cells:
            self._progress.remove_task(self._cells.pop(cell.id))
        self._progress.advance(self._suite)

    def waiting(self, held: Mapping[str, Holder]) -> None:
        """Say who runs the cells that are left."""
        self._plain.waiting(held)


@contextlib.contextmanager
def counting(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A progress callback (activity, done, total): a bar in a terminal, else one line per tenth."""
    if not console.is_terminal:
        yield _TenthByTenth(console)
        return
    bars: dict[str, TaskID] = {}
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    ) as display:

        def report(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = display.add_task(what, total=total)
            display.update(bars[what], completed=done)

        yield report


class _TenthByTenth:
    """Prints a line for every tenth of some work."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tenths: dict[str, int] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        tenth = 10 * done // max(1, total)
        if tenth > self._tenths.get(what, 0):
            self._tenths[what] = tenth
            self._console.print(f"{what}: {done} of {total}", highlight=False, markup=False, soft_wrap=True)


def describe_epoch(epoch: dict[str, Any]) -> str:
    """One line: rate, validation accuracy by strategy and by layer, losses."""
    accuracies = ", ".join(f"{name} {value:.2f}" for name, value in epoch["validation"].items())
    parts = [_rate(epoch), f"validation % {accuracies}"]
    if epoch["layers"]:
        parts.append("layers % " + " ".join(f"{value:.1f}" for value in epoch["layers"]))
    parts.append("loss " + " ".join(f"{name} {value:.3g}" for name, value in epoch["losses"].items()))
    if epoch["noise"]["noisy"]:
        parts.append("machine busy: timing is noisy")
    return "; ".join(parts)


def describe_outcome(title: str, outcome: Outcome) -> str:
    """One line: test accuracy by strategy, or what went wrong."""
    if outcome.bad_input:
        return f"{title}: not run: {outcome.problem}"
    if outcome.record is None:
        return f"{title}: no record: {outcome.problem}"
    if outcome.record.status != "ok":
        return f"{title}: {outcome.record.status}: {outcome.problem}"
    accuracies = ", ".join(f"{s.strategy} {s.accuracy:.2f}" for s in outcome.record.strategies)
    kept = "" if not outcome.reused else " (by another process)" if outcome.elsewhere else " (finished before)"
    return f"{title}: test % {accuracies}{kept}"


def _rate(event: dict[str, Any]) -> str:
    return f"{event['images'] / event['seconds']:,.0f} img/s" if event["seconds"] > 0 else ""
