"""The sections of a page: for the runs of a source on one task, what was measured and what it says."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field

from bench.records import Record
from bench.records.names import machine_of
from bench.reference.verdicts import conclusion
from bench.report import checks, fairness, rows
from bench.report.page import cells
from bench.report.page.cells import CellPart
from bench.report.page.source import Source
from bench.report.rows import Row
from bench.report.table import accuracy_text

MIB = 2**20
COLUMNS: dict[str, tuple[str, str, Callable[[Row], float | None], Callable[[float], str]]] = {
    "minutes": ("minutes", "of training", lambda row: _by(row.train_seconds, 60), lambda x: f"{x:,.1f}"),
    "speed": ("images/s", "in training, end to end", lambda row: row.train_images_per_second, lambda x: f"{x:,.0f}"),
    "predict": ("images/s", "in prediction", lambda row: row.predict_images_per_second, lambda x: f"{x:,.0f}"),
    "live": ("MiB live", "peak of a training step", lambda row: _by(row.peak_live_bytes, MIB), lambda x: f"{x:,.1f}"),
    "weights": ("MiB", "of weights", lambda row: _by(row.parameter_bytes, MIB), lambda x: f"{x:,.2f}"),
    "parameters": ("parameters", "used in prediction", lambda row: row.parameters, lambda x: f"{x:,.0f}"),
    "work": ("MFLOP", "per training image", lambda row: _by(row.train_flops_per_image, 1e6), lambda x: f"{x:,.1f}"),
}
"""Columns of numbers: by key, title, what it is of, value of a row, and how it is written."""


@dataclass(frozen=True)
class Number:
    """A number in a table: as text, and to sort by."""

    text: str
    value: float | None


@dataclass(frozen=True)
class Line:
    """A line of the table: runs that differ in their seeds only.

    Attributes:
        anchor: its name in the page's address.
        label, strategy, status: in words.
        accuracy: the mean with its interval.
        seeds: accuracies by seed, in words.
        published: a published figure with what it is of; empty without one.
        gap: ours less it; empty without one.
        verdict: against the reference; empty if not checked.
        numbers: by key of ``COLUMNS``.
        cells: pairs of the anchor of a cell that it is made of, and its seed in words.
        ok: whether it has results.
    """

    anchor: str
    label: str
    strategy: str
    status: str
    accuracy: Number
    seeds: str
    published: str
    gap: str
    verdict: str
    numbers: dict[str, Number]
    cells: list[tuple[str, str]]
    ok: bool

    def holds(self, cell: str) -> bool:
        """Whether it is made of a cell, given its anchor."""
        return any(anchor == cell for anchor, _ in self.cells)


@dataclass(frozen=True)
class Section:
    """The runs of one source on one task.

    Attributes:
        anchor, task, title: of the section.
        counts: what was run: statuses with their numbers.
        verdict: whether the results are as stored, in a sentence.
        alarming: whether they are not.
        power: sentences on the drops that the suite detects.
        failures: sentences.
        notes: caveats.
        lines: of the table.
        fair: conditions, whether each is equal, and the value of every contestant.
        contestants: their names.
        methods: pairs of a method and a sentence about it.
        cells: all cells.
        records: the successful ones.
        drawn: see ``Source``.
    """

    anchor: str
    task: str
    title: str
    counts: str
    verdict: str
    alarming: bool
    power: list[str]
    failures: list[str]
    notes: list[str]
    lines: list[Line]
    contestants: list[str]
    fair: list[fairness.Line]
    methods: list[tuple[str, str]]
    cells: list[CellPart]
    records: list[Record] = field(repr=False)
    drawn: Mapping[str, str] | None = field(repr=False)


def sections(source: Source) -> list[Section]:
    """The sections of some runs, one per task."""
    table = rows.make(source.found, source.checks)
    return [_section(source, table, task) for task in sorted({row.task for row in table})]


def _section(source: Source, table: Sequence[Row], task: str) -> Section:
    of_task = [row for row in table if row.task == task]
    mine = [record for record in source.found.records if record.cell.task == task]
    done = [record for record in mine if record.status == "ok"]
    by_cell = {row.cell: row for row in of_task}
    counts = Counter(row.status for row in by_cell.values())
    suites = ", ".join(sorted({record.suite for record in mine}))
    verdicts = [check for check in source.checks if check.task == task]
    anchor = f"{source.name}-{task}"
    said = conclusion(suites, verdicts) if verdicts else ""
    methods = sorted({row.method for row in of_task})
    return Section(
        anchor=anchor,
        task=task,
        title=f"{suites or source.name}: {task}",
        counts=", ".join(f"{count} {status}" for status, count in sorted(counts.items())),
        verdict=f"Against the stored references: {said}." if said else source.unchecked,
        alarming=bool(said) and not said.startswith("as stored"),
        power=checks.power(verdicts),
        failures=[f"{row.method}, seed {row.seed}: {row.status}. {row.error}" for row in by_cell.values() if row.error],
        notes=_notes(list(by_cell.values()), sorted({machine_of(record) for record in done})),
        lines=_lines(anchor, of_task, {record.id for record in mine}),
        contestants=fairness.contestants(of_task),
        fair=fairness.lines(of_task),
        methods=[(name, source.methods[name].sentence) for name in methods if name in source.methods],
        cells=cells.make(anchor, mine, source.methods),
        records=done,
        drawn=source.drawn,
    )


def _notes(of_cells: Sequence[Row], machines: Sequence[str]) -> list[str]:
    notes = [f"Timed on {'; '.join(machines)}."] if machines else []
    if len(machines) > 1:
        notes.append("Times of several machines do not compare.")
    if old := sum(row.current is False for row in of_cells):
        notes.append(f"{old} of {len(of_cells)} cells were made by other code than made this page.")
    if noisy := sum(bool(row.noisy) for row in of_cells):
        notes.append(f"The machine was busy while {noisy} cells were timed.")
    if shared := sum(bool(row.shared) for row in of_cells):
        notes.append(f"Other cells ran on the machine while {shared} cells were timed.")
    return notes


def _lines(section: str, table: Sequence[Row], recorded: Container[str]) -> list[Line]:
    names = rows.labels_of_rows(table)
    groups: dict[tuple[str, str, bool], list[Row]] = {}
    for row, name in zip(table, names, strict=True):
        groups.setdefault((name, row.strategy, row.status == "ok"), []).append(row)
    return [
        _line(section, number, name, members, recorded) for number, ((name, _, _), members) in enumerate(groups.items())
    ]


def _line(section: str, number: int, name: str, members: Sequence[Row], recorded: Container[str]) -> Line:
    first = members[0]
    accuracies = [row.accuracy for row in members if row.accuracy is not None]
    gaps = [row.gap for row in members if row.gap is not None]
    published = "" if first.published is None else f"{first.published:.2f}, {first.recipe or 'of the paper'}"
    old = " (other code)" if any(row.current is False for row in members) else ""
    return Line(
        anchor=f"{section}.row{number}",
        label=name,
        strategy=first.strategy,
        status=first.status + old,
        accuracy=Number(accuracy_text(accuracies), statistics.fmean(accuracies) if accuracies else None),
        seeds=", ".join(f"seed {row.seed}: {row.accuracy:.2f}" for row in members if row.accuracy is not None),
        published=published,
        gap=f"{statistics.fmean(gaps):+.2f}" if gaps else "",
        verdict=", ".join(sorted({row.verdict for row in members if row.verdict})),
        numbers={key: _number(members, value, show) for key, (_, _, value, show) in COLUMNS.items()},
        cells=[(cells.anchor_of(section, row.cell), f"seed {row.seed}") for row in members if row.cell in recorded],
        ok=first.status == "ok",
    )


def _number(members: Sequence[Row], value: Callable[[Row], float | None], show: Callable[[float], str]) -> Number:
    known = [each for each in (value(row) for row in members) if each is not None]
    return Number(show(statistics.fmean(known)), statistics.fmean(known)) if known else Number("-", None)


def _by(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit
