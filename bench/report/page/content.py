"""What a page says of runs, as plain values."""

from __future__ import annotations

import dataclasses
import json
import shlex
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench import records
from bench.errors import UserError
from bench.records import Found, Record
from bench.records.names import labels_of_cells, machine_of
from bench.report import fairness, rows
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
class Cell:
    """A number in a table: as text, and to sort by."""

    text: str
    value: float | None


@dataclass(frozen=True)
class Line:
    """A line of the table: runs that differ in their seeds only.

    Attributes:
        label, strategy, status: in words.
        accuracy: the mean with its interval.
        seeds: accuracies by seed, in words.
        published: a published figure with what it is of; empty without one.
        gap: ours less it; empty without one.
        numbers: by key of ``COLUMNS``.
        anchors: of the cells it is made of.
        ok: whether it has results.
    """

    label: str
    strategy: str
    status: str
    accuracy: Cell
    seeds: str
    published: str
    gap: str
    numbers: dict[str, Cell]
    anchors: list[tuple[str, str]]
    ok: bool


@dataclass(frozen=True)
class CellPart:
    """A cell in full.

    Attributes:
        anchor: its name in the page's address.
        title: in words.
        command: what makes it again.
        facts: pairs of a name and a value: environment, code.
        settings: name, value, and whether it differs between the cells of its method here.
        epochs: header and lines of what happened in each epoch.
        download: the record as a data address.
    """

    anchor: str
    title: str
    status: str
    error: str
    command: str
    facts: list[tuple[str, str]]
    settings: list[tuple[str, str, bool]]
    epochs: tuple[list[str], list[list[str]]]
    download: str
    name: str


@dataclass(frozen=True)
class Section:
    """The runs of one folder on one task.

    Attributes:
        anchor, title: of the section.
        counts: what was run: statuses with their numbers.
        failures: sentences.
        notes: caveats.
        lines: of the table.
        fair: conditions, whether each is equal, and the value of every contestant.
        contestants: their names.
        cells: all cells.
        records: the successful ones.
    """

    anchor: str
    title: str
    counts: str
    failures: list[str]
    notes: list[str]
    lines: list[Line]
    contestants: list[str]
    fair: list[fairness.Line]
    cells: list[CellPart]
    records: list[Record] = dataclasses.field(repr=False)


def sections(folder: Path) -> list[Section]:
    """The sections of a folder of runs, one per task.

    Raises:
        UserError: if the folder does not exist, or has no record.
    """
    found = records.read_all(folder)
    if not found.records:
        raise UserError(f"nothing was measured in {folder}")
    table = rows.make(found)
    return [_section(folder, found, table, task) for task in sorted({row.task for row in table})]


def _section(folder: Path, found: Found, table: Sequence[Row], task: str) -> Section:
    of_task = [row for row in table if row.task == task]
    mine = [record for record in found.records if record.cell.task == task]
    done = [record for record in mine if record.status == "ok"]
    by_cell = {row.cell: row for row in of_task}
    counts = Counter(row.status for row in by_cell.values())
    suites = ", ".join(sorted({record.suite for record in mine}))
    old = sum(row.current is False for row in by_cell.values())
    machines = sorted({machine_of(record) for record in done})
    notes = [f"Timed on {'; '.join(machines)}."] if machines else []
    if len(machines) > 1:
        notes.append("Times of several machines do not compare.")
    if old:
        notes.append(f"{old} of {len(by_cell)} cells were made by other code than made this page.")
    if noisy := sum(bool(row.noisy) for row in by_cell.values()):
        notes.append(f"The machine was busy while {noisy} cells were timed.")
    anchor = f"{folder.name}-{task}"
    return Section(
        anchor=anchor,
        title=f"{suites or folder.name}: {task}",
        counts=", ".join(f"{count} {status}" for status, count in sorted(counts.items())),
        failures=[f"{row.method}, seed {row.seed}: {row.status}. {row.error}" for row in by_cell.values() if row.error],
        notes=notes,
        lines=_lines(of_task),
        contestants=fairness.contestants(of_task),
        fair=fairness.lines(of_task),
        cells=_cells(mine),
        records=done,
    )


def _lines(table: Sequence[Row]) -> list[Line]:
    names = rows.labels_of_rows(table)
    groups: dict[tuple[str, str, bool], list[Row]] = {}
    for row, name in zip(table, names, strict=True):
        groups.setdefault((name, row.strategy, row.status == "ok"), []).append(row)
    return [_line(name, members) for (name, _, _), members in groups.items()]


def _line(name: str, members: Sequence[Row]) -> Line:
    first = members[0]
    accuracies = [row.accuracy for row in members if row.accuracy is not None]
    ok = first.status == "ok"
    gaps = [row.gap for row in members if row.gap is not None]
    published = "" if first.published is None else f"{first.published:.2f}, {first.recipe or 'of the paper'}"
    old = " (other code)" if any(row.current is False for row in members) else ""
    return Line(
        label=name,
        strategy=first.strategy,
        status=first.status + old,
        accuracy=Cell(accuracy_text(accuracies), statistics.fmean(accuracies) if accuracies else None),
        seeds=", ".join(f"seed {row.seed}: {row.accuracy:.2f}" for row in members if row.accuracy is not None),
        published=published,
        gap=f"{statistics.fmean(gaps):+.2f}" if gaps else "",
        numbers={key: _number(members, value, show) for key, (_, _, value, show) in COLUMNS.items()},
        anchors=[(row.cell, f"seed {row.seed}") for row in members],
        ok=ok,
    )


def _number(members: Sequence[Row], value: Callable[[Row], float | None], show: Callable[[float], str]) -> Cell:
    known = [each for each in (value(row) for row in members) if each is not None]
    return Cell(show(statistics.fmean(known)), statistics.fmean(known)) if known else Cell("-", None)


def _by(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _cells(mine: Sequence[Record]) -> list[CellPart]:
    ordered = sorted(mine, key=lambda record: record.id)
    names = labels_of_cells([record.cell for record in ordered])
    settings = {record.id: _settings(record) for record in ordered}
    by_method: dict[str, list[dict[str, Any]]] = {}
    for record in ordered:
        by_method.setdefault(record.cell.method, []).append(settings[record.id])
    return [_cell(record, name, settings[record.id], by_method) for record, name in zip(ordered, names, strict=True)]


def _settings(record: Record) -> dict[str, Any]:
    described = record.cell.described
    return dict(record.cell.settings if described is None else described.settings)


def _cell(record: Record, name: str, settings: dict[str, Any], by_method: dict[str, list[dict[str, Any]]]) -> CellPart:
    others = by_method[record.cell.method]
    here, code = record.environment, record.code
    text = json.dumps(record.model_dump(mode="json", exclude_none=True), separators=(",", ":"), sort_keys=True)
    augmented = ", ".join(record.cell.augmentation) or "no augmentation"
    return CellPart(
        anchor=record.id,
        title=f"{name}, seed {record.cell.seed}",
        status=record.status,
        error=record.error or "",
        command=_command(record),
        facts=[
            ("machine", machine_of(record)),
            ("libraries", f"Python {here.python}, PyTorch {here.torch}, FFCV {here.ffcv or '-'}"),
            ("code", f"commit {(code.commit or 'unknown')[:12]}{' with changes' if code.dirty else ''}"),
            ("made", record.created),
            ("data", f"{record.cell.loader} loader, batches of {record.cell.batch_size}, {augmented}"),
        ],
        settings=[
            (key, json.dumps(value), any(other.get(key) != value for other in others))
            for key, value in sorted(settings.items())
        ],
        epochs=_epochs(record),
        download="data:application/json," + quote(text, safe=""),
        name=f"{record.id}.json",
    )


def _epochs(record: Record) -> tuple[list[str], list[list[str]]]:
    strategies = [part.strategy for part in record.strategies]
    header = ["epoch", "seconds", *(f"{strategy} %" for strategy in strategies), "layers %"]
    lines = [
        [
            str(epoch.epoch),
            f"{epoch.seconds:.1f}",
            *(f"{epoch.validation[name]:.2f}" if name in epoch.validation else "-" for name in strategies),
            " ".join(f"{value:.1f}" for value in epoch.layers or ()) or "-",
        ]
        for epoch in record.epochs
    ]
    return header, lines


def _command(record: Record) -> str:
    """The command that makes a cell again; settings of a sweep are those of one variant of the suite."""
    cell = record.cell
    words = ["bench", "run", record.suite, "--methods", cell.method, "--tasks", cell.task]
    words += ["--first-seed", str(cell.seed), "--seeds", "1", "--loader", cell.loader, "--threads", str(cell.threads)]
    for name, value in sorted(record.overrides.items()):
        if name not in ("settings", "methods", "tasks", "seeds", "first_seed", "loader", "threads"):
            words += [f"--{name.replace('_', '-')}", str(value)]
    for name, value in sorted(cell.settings.items()):
        words += ["--set", f"{cell.method}.{name}={json.dumps(value)}"]
    return shlex.join(words)
