"""Prints the table of a task's runs, and the table of their accuracies only."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from rich.console import Console

from bench import tables
from bench.errors import unknown
from bench.records.names import order
from bench.report import fairness
from bench.report.rows import Row, labels_of_rows
from bench.statistics import half_width


def render_rows(
    table: Sequence[Row],
    form: tables.Format,
    console: Console,
    *,
    fairly: bool = True,
    columns: Sequence[str] | None = None,
    wide: bool = False,
) -> None:
    """Print rows: csv and json row by row, rich and markdown with the seeds of a row summarised.

    The latter are followed by what was equal between the methods, unless ``fairly`` is false.

    Args:
        table: the rows.
        form: of the output.
        console: a terminal gets, of the columns of numbers, those that fit beside each other.
        fairly: see above.
        columns: names of columns of numbers, see ``COLUMNS``: these alone, whether they fit or not.
        wide: all columns, whether they fit or not.

    Raises:
        UserError: for an unknown column.
    """
    for name in columns or ():
        if name not in COLUMNS:
            raise unknown("column", name, COLUMNS)
    if form == "json":
        console.file.write(json.dumps([asdict(row) for row in table], indent=1) + "\n")
    elif form == "csv":
        lines = [[plain(value) for value in asdict(row).values()] for row in table]
        console.file.write(tables.to_csv([column.name for column in fields(Row)], lines))
    else:
        for task in sorted({row.task for row in table}):
            of_task = [row for row in table if row.task == task]
            checked = any(row.verdict for row in of_task)
            title = f"{task}: test accuracy of the last epoch"
            shown = _columns(of_task) if columns is None else {name: COLUMNS[name] for name in columns}
            notes = _notes(of_task)
            if form == "rich" and columns is None and not wide and console.is_terminal:
                fitting = _fitting(of_task, shown, console.width, checked=checked)
                if left := [name for name in shown if name not in fitting]:
                    notes.append(f"not shown for want of room, but by `bench table --wide`: {', '.join(left)}")
                shown = fitting
            lines = _summaries(of_task, shown, checked=checked)
            tables.print_table(console, form, title, _headers(shown, checked=checked), lines, notes, keys=2)
            if fairly and form == "rich" and console.is_terminal and not wide:
                _tell_fairness(of_task, console)
            elif fairly:
                render_fairness(of_task, form, console)


def render_fairness(table: Sequence[Row], form: tables.Format, console: Console) -> None:
    """Print what was equal between the methods of one task's rows, and what was not; nothing for a single method."""
    lines = fairness.lines(table)
    if lines:
        header = ["what", "equal", *fairness.contestants(table)]
        cells = [[line.what, "yes" if line.equal else "no", *line.values] for line in lines]
        console.file.write("\n")
        tables.print_table(console, form, f"{table[0].task}: what was equal", header, cells, [], keys=2)


def _tell_fairness(table: Sequence[Row], console: Console) -> None:
    """The same in sentences: what was equal, and a line for each condition that was not, with who had which value."""
    lines = fairness.lines(table)
    if not lines:
        return
    equal = ", ".join(line.what for line in lines if line.equal) or "nothing"
    told = [f"{table[0].task}: equal: {equal}"]
    who = fairness.contestants(table)
    for line in (line for line in lines if not line.equal):
        by_value: dict[str, list[str]] = {}
        for name, value in zip(who, line.values, strict=True):
            by_value.setdefault(value, []).append(name)
        values = "; ".join(f"{value} ({', '.join(names)})" for value, names in by_value.items())
        told.append(f"not equal: {line.what}: {values}")
    for text in ["", *told]:
        console.print(text, highlight=False, markup=False, soft_wrap=False)


def plain(value: Any) -> Any:
    """A value for a cell of a file; composite values as JSON."""
    return json.dumps(value) if isinstance(value, dict | list | tuple) else value


Columns = Mapping[str, tuple[str, Callable[[float], str]]]
"""Columns of numbers: by name of the row's value, the title, and how it is written."""
COLUMNS: Columns = {
    "top5": ("top-5\n%", lambda x: f"{x:.2f}"),
    "published": ("published\n%", lambda x: f"{x:.2f}"),
    "gap": ("gap\npoints", lambda x: f"{x:+.2f}"),
    "train_seconds": ("train\nmin", lambda x: f"{x / 60:,.1f}"),
    "train_images_per_second": ("train img/s\nend to end", lambda x: f"{x:,.0f}"),
    "train_images_per_second_compute": ("train img/s\ncompute", lambda x: f"{x:,.0f}"),
    "predict_images_per_second": ("predict\nimg/s", lambda x: f"{x:,.0f}"),
    "peak_rss_bytes": ("peak RSS\nMiB", lambda x: f"{x / 2**20:,.0f}"),
    "peak_live_bytes": ("peak live\nMiB", lambda x: f"{x / 2**20:,.1f}"),
    "peak_allocated_bytes": ("peak allocated\nMiB", lambda x: f"{x / 2**20:,.1f}"),
    "parameter_bytes": ("weights\nMiB", lambda x: f"{x / 2**20:,.2f}"),
    "parameters": ("parameters\n", lambda x: f"{x:,.0f}"),
    "train_flops_per_image": ("train MFLOP\nper image", lambda x: f"{x / 1e6:,.1f}"),
    "operations_per_step": ("operations\nper step", lambda x: f"{x:,.0f}"),
    "executed_macs": ("predict MMAC\nper image", lambda x: f"{x / 1e6:,.2f}"),
}
FIRST = (
    "train_seconds",
    "train_images_per_second",
    "peak_live_bytes",
    "published",
    "gap",
    "predict_images_per_second",
    "parameters",
)
"""Columns for which there is room first; the others follow in their order."""
OPTIONAL = ("top5", "peak_allocated_bytes", "operations_per_step", "executed_macs")
"""Columns shown only if a row has a value in them."""


def _columns(table: Sequence[Row]) -> Columns:
    """The number columns of a table."""
    empty = {name for name in OPTIONAL if all(getattr(row, name) is None for row in table)}
    return {name: column for name, column in COLUMNS.items() if name not in empty}


def _fitting(table: Sequence[Row], columns: Columns, width: int, *, checked: bool) -> Columns:
    """Of the number columns, those that fit a terminal beside each other."""

    def needed(names: Sequence[str]) -> int:
        some = {name: columns[name] for name in columns if name in names}
        return tables.width(_headers(some, checked=checked), _summaries(table, some, checked=checked))

    kept: list[str] = []
    for name in dict.fromkeys([*FIRST, *columns]):
        if name in columns and needed([*kept, name]) <= width:
            kept.append(name)
    return {name: column for name, column in columns.items() if name in kept}


def _headers(columns: Columns, *, checked: bool) -> list[str]:
    verdict = ["against\nreference"] if checked else []
    titles = [title for title, _ in columns.values()]
    return ["method\n", "strategy\n", "accuracy\n%", *titles, *verdict, "status\n"]


def _summaries(table: Sequence[Row], columns: Columns, *, checked: bool) -> list[list[str]]:
    """A line per method, conditions and strategy: means over seeds, accuracy with its t-interval; then the failures."""
    groups: dict[tuple[str, str], list[Row]] = {}
    names = labels_of_rows(table)
    for row, name in zip(table, names, strict=True):
        groups.setdefault((name, row.strategy), []).append(row)
    lines = []
    for (name, strategy), members in groups.items():
        good = [row for row in members if row.status == "ok"]
        if good:
            accuracies = [row.accuracy for row in good]
            width = _interval_text(accuracies) if good[0].gap is not None else ""
            after = {"gap": width, "published": f", {good[0].recipe}" if good[0].recipe else ""}
            figures = [_mean(good, column, show) + after.get(column, "") for column, (_, show) in columns.items()]
            status = ("ok" if len(good) == 1 else f"ok, {len(good)} seeds") + _other_code(good)
            verdict = [good[0].verdict or "-"] if checked else []
            lines.append([name, strategy, accuracy_text(accuracies), *figures, *verdict, status])
        blank = [""] * (len(columns) + (2 if checked else 1))
        lines += [[name, strategy, *blank, f"{r.status} (seed {r.seed})"] for r in members if r.status != "ok"]
    return lines


def render_accuracies(table: Sequence[Row], form: tables.Format, console: Console) -> None:
    """Print only accuracies, one line per method and conditions, one column per strategy: for experiments on settings.

    Lines are sorted by method, then by conditions. json and csv have a column with half the width of each mean's
    interval; the other formats list failures below the table.
    """
    tasks = sorted({row.task for row in table})
    strategies = list(dict.fromkeys(row.strategy for row in table if row.status == "ok"))
    lines = {task: _accuracies([row for row in table if row.task == task]) for task in tasks}
    if form in ("json", "csv"):
        every = [[task, *_numbers(line, strategies)] for task in tasks for line in lines[task]]
        header = [column for each in strategies for column in (each, f"{each} half width")]
        tables.render("", ["task", "method", *header, "seeds"], every, form, console)
        return
    for number, task in enumerate(tasks):
        of_task = [row for row in table if row.task == task]
        names = labels_of_rows(of_task, brief=True)
        failed = {row.cell: (row, name) for row, name in zip(of_task, names, strict=True) if row.status != "ok"}
        notes = [f"{name} seed {row.seed}: {row.status}" for row, name in failed.values()]
        notes += stale_notes(of_task, names)
        console.file.write("\n" if number else "")
        title = f"{task}: test accuracy of the last epoch in %, mean and 95 % interval over seeds"
        shown = [
            [line.name, *(accuracy_text(line.values.get(each, [])) or "-" for each in strategies), str(line.seeds)]
            for line in lines[task]
        ]
        tables.print_table(console, form, title, ["method", *strategies, "seeds"], shown, notes)


@dataclass
class _Line:
    """Accuracies in per cent of one method under some conditions, by strategy, one value per seed."""

    name: str
    values: dict[str, list[float | None]] = field(default_factory=dict)

    @property
    def seeds(self) -> int:
        return max(len(values) for values in self.values.values())


def _other_code(good: Sequence[Row]) -> str:
    """The mark of rows that the code which is here has not made."""
    old = sum(row.current is False for row in good)
    return ", other code" if old == len(good) else f", {old} by other code" if old else ""


def _accuracies(table: Sequence[Row]) -> list[_Line]:
    """A line per method and conditions of one task."""
    good = sorted((row for row in table if row.status == "ok"), key=lambda row: order(row.method, row.conditions))
    found: dict[str, _Line] = {}
    for row, name in zip(good, labels_of_rows(good), strict=True):
        found.setdefault(name, _Line(name)).values.setdefault(row.strategy, []).append(row.accuracy)
    return list(found.values())


def _numbers(line: _Line, strategies: Sequence[str]) -> list[str | float | None]:
    """A line for programs: None for a missing value or interval."""
    figures: list[str | float | None] = []
    for strategy in strategies:
        known = [value for value in line.values.get(strategy, []) if value is not None]
        figures += [statistics.fmean(known) if known else None, half_width(known)]
    return [line.name, *figures, line.seeds]


def accuracy_text(values: Sequence[float | None]) -> str:
    """The mean, with the half width of its 95 % Student-t interval if there are several values."""
    known = [value for value in values if value is not None]
    return f"{statistics.fmean(known):.2f}{_interval_text(known)}" if known else ""


def _interval_text(values: Sequence[float | None]) -> str:
    width = half_width([value for value in values if value is not None])
    return "" if width is None else f" ±{width:.2f}"


def _mean(good: Sequence[Row], name: str, show: Callable[[float], str]) -> str:
    values = [getattr(row, name) for row in good]
    known = [value for value in values if value is not None]
    return show(statistics.fmean(known)) if known else "-"


def _notes(table: Sequence[Row]) -> list[str]:
    notes = []
    loaders = sorted({row.loader for row in table})
    if loaders == ["memory"]:
        notes.append("loader: memory (images kept in one tensor)")
    else:
        notes.append(f"loader: {', '.join(loaders)}")
    names = labels_of_rows(table, brief=True)
    noisy = sorted({f"{name} seed {row.seed}" for row, name in zip(table, names, strict=True) if row.noisy})
    if noisy:
        notes.append(f"timing is noisy, the machine was busy: {', '.join(noisy)}")
    shared = sorted({f"{name} seed {row.seed}" for row, name in zip(table, names, strict=True) if row.shared})
    if shared:
        notes.append(f"speeds are not comparable, other cells ran on the machine: {', '.join(shared)}")
    notes += stale_notes(table, names)
    if len({row.machine for row in table if row.machine}) > 1:
        ran = "; ".join(f"{', '.join(runs)} on {machine}" for machine, runs in _by_machine(table, names))
        notes.append(f"times do not compare between machines: {ran}")
    seen = set()
    for row, name in zip(table, names, strict=True):
        if row.error and row.cell not in seen:
            seen.add(row.cell)
            notes.append(f"{name} seed {row.seed}: {row.status}: {row.error}")
    return notes


def stale_notes(table: Sequence[Row], names: Sequence[str]) -> list[str]:
    """A note that names the runs of one task that other code has made, if there are any."""
    old = {(name, row.seed) for row, name in zip(table, names, strict=True) if row.current is False}
    if not old:
        return []
    runs = {(name, row.seed) for row, name in zip(table, names, strict=True) if row.status == "ok"}
    which = "all" if old == runs else ", ".join(f"{name} seed {seed}" for name, seed in sorted(old))
    return [f"made by other code than is here: {which}; `bench refresh` measures them again"]


def _by_machine(table: Sequence[Row], names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Each machine that runs were timed on, with their names, and their seeds if others were timed elsewhere."""
    machines: dict[str, set[str]] = {}
    seeds: dict[tuple[str, str], set[int]] = {}
    for row, name in zip(table, names, strict=True):
        if row.machine:
            machines.setdefault(name, set()).add(row.machine)
            seeds.setdefault((row.machine, name), set()).add(row.seed)
    runs: dict[str, list[str]] = {}
    for (machine, name), found in sorted(seeds.items()):
        told = "".join(f" seed {seed}" for seed in sorted(found)) if len(machines[name]) > 1 else ""
        runs.setdefault(machine, []).append(name + told)
    return list(runs.items())
