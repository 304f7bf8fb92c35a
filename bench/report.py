"""Tables for people and for programs: rich, markdown, csv, json."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text
from scipy import stats

from bench import fairness
from bench.reference.significance import POWER
from bench.reference.verdicts import Check
from bench.rows import Row, labels_of_rows, order

Format = Literal["rich", "markdown", "csv", "json"]
CONFIDENCE = 0.95
_NUMBER = re.compile(r"[+-]?[\d,.]+( ±[\d.]+)?( \(n=\d+\))?")
WIDEST = 200


def render_rows(table: Sequence[Row], form: Format, console: Console, *, fairly: bool = True) -> None:
    """Print rows: csv and json row by row, rich and markdown with the seeds of a row summed up.

    Below the latter stands what was equal between the methods, unless ``fairly`` is false.
    """
    if form == "json":
        console.file.write(json.dumps([asdict(row) for row in table], indent=1) + "\n")
    elif form == "csv":
        lines = [[_plain(value) for value in asdict(row).values()] for row in table]
        console.file.write(to_csv([column.name for column in fields(Row)], lines))
    else:
        for task in sorted({row.task for row in table}):
            of_task = [row for row in table if row.task == task]
            checked = any(row.verdict for row in of_task)
            title = f"{task}: test accuracy of the last epoch"
            lines = _summaries(of_task, checked=checked)
            _print(console, form, title, _headers(of_task, checked=checked), lines, _notes(of_task), keys=2)
            if fairly:
                render_fairness(of_task, form, console)


def render_fairness(table: Sequence[Row], form: Format, console: Console) -> None:
    """Print what was equal among the methods of one task's rows, and what was not; nothing if there is but one."""
    lines = fairness.lines(table)
    if lines:
        header = ["what", "equal", *fairness.contestants(table)]
        cells = [[line.what, "yes" if line.equal else "no", *line.values] for line in lines]
        console.file.write("\n")
        _print(console, form, f"{table[0].task}: what was equal", header, cells, [], keys=2)


def to_csv(header: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """Comma-separated text with a header line; None is empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    """A value for a CSV file: what has parts as JSON."""
    return json.dumps(value) if isinstance(value, dict | list | tuple) else value


_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "published": ("published\n%", lambda x: f"{x:.2f}"),
    "gap": ("gap\npoints", lambda x: f"{x:+.2f}"),
    "train_seconds": ("train\nmin", lambda x: f"{x / 60:,.1f}"),
    "train_images_per_second": ("train img/s\nend to end", lambda x: f"{x:,.0f}"),
    "train_images_per_second_compute": ("train img/s\ncompute", lambda x: f"{x:,.0f}"),
    "predict_images_per_second": ("predict\nimg/s", lambda x: f"{x:,.0f}"),
    "peak_rss_bytes": ("peak RSS\nMiB", lambda x: f"{x / 2**20:,.0f}"),
    "peak_live_bytes": ("peak live\nMiB", lambda x: f"{x / 2**20:,.1f}"),
    "parameter_bytes": ("weights\nMiB", lambda x: f"{x / 2**20:,.2f}"),
    "parameters": ("parameters\n", lambda x: f"{x:,.0f}"),
    "train_flops_per_image": ("train MFLOP\nper image", lambda x: f"{x / 1e6:,.1f}"),
    "executed_macs": ("predict MMAC\nper image", lambda x: f"{x / 1e6:,.2f}"),
}
OPTIONAL = ("executed_macs",)
"""Columns that are shown only where a row has something in them."""


def _columns(table: Sequence[Row]) -> dict[str, tuple[str, Callable[[float], str]]]:
    """The columns of figures that a table has."""
    empty = {name for name in OPTIONAL if all(getattr(row, name) is None for row in table)}
    return {name: column for name, column in _COLUMNS.items() if name not in empty}


def _headers(table: Sequence[Row], *, checked: bool) -> list[str]:
    verdict = ["against\nreference"] if checked else []
    titles = [title for title, _ in _columns(table).values()]
    return ["method\n", "strategy\n", "accuracy\n%", *titles, *verdict, "status\n"]


def _summaries(table: Sequence[Row], *, checked: bool) -> list[list[str]]:
    """A line per method, conditions and strategy: means over seeds, accuracy with its t-interval; then what failed."""
    groups: dict[tuple[str, str], list[Row]] = {}
    columns = _columns(table)
    names = labels_of_rows(table)
    for row, name in zip(table, names, strict=True):
        groups.setdefault((name, row.strategy), []).append(row)
    lines = []
    for (name, strategy), members in groups.items():
        good = [row for row in members if row.status == "ok"]
        if good:
            accuracies = [row.accuracy for row in good]
            width = _interval_text(accuracies) if good[0].gap is not None else ""
            figures = [
                _mean(good, column, show) + (width if column == "gap" else "") for column, (_, show) in columns.items()
            ]
            status = "ok" if len(good) == 1 else f"ok, {len(good)} seeds"
            verdict = [good[0].verdict or "-"] if checked else []
            lines.append([name, strategy, accuracy_text(accuracies), *figures, *verdict, status])
        blank = [""] * (len(columns) + (2 if checked else 1))
        lines += [[name, strategy, *blank, f"{r.status} (seed {r.seed})"] for r in members if r.status != "ok"]
    return lines


def render_accuracies(table: Sequence[Row], form: Format, console: Console) -> None:
    """Print accuracies alone, a line per method and conditions and a column per strategy: for experiments on settings.

    They are sorted by method, then by conditions. What failed is said below.
    """
    tasks = sorted({row.task for row in table})
    strategies = list(dict.fromkeys(row.strategy for row in table if row.status == "ok"))
    header = ["method", *strategies, "seeds"]
    lines = {task: _accuracies([row for row in table if row.task == task], strategies) for task in tasks}
    if form in ("json", "csv"):
        every = [[task, *line] for task in tasks for line in lines[task]]
        render_plain("", ["task", *header], every, form, console)
        return
    for number, task in enumerate(tasks):
        of_task = [row for row in table if row.task == task]
        names = labels_of_rows(of_task, brief=True)
        failed = {row.cell: (row, name) for row, name in zip(of_task, names, strict=True) if row.status != "ok"}
        notes = [f"{name} seed {row.seed}: {row.status}" for row, name in failed.values()]
        console.file.write("\n" if number else "")
        title = f"{task}: test accuracy of the last epoch in %, mean and 95 % interval over seeds"
        _print(console, form, title, header, lines[task], notes)


def _accuracies(table: Sequence[Row], strategies: Sequence[str]) -> list[list[str]]:
    """A line per method and conditions of one task, the last column with the number of seeds."""
    good = sorted((row for row in table if row.status == "ok"), key=lambda row: order(row.method, row.conditions))
    found: dict[str, dict[str, list[Row]]] = {}
    for row, name in zip(good, labels_of_rows(good), strict=True):
        found.setdefault(name, {}).setdefault(row.strategy, []).append(row)
    return [
        [
            name,
            *(accuracy_text([row.accuracy for row in by_strategy.get(each, [])]) or "-" for each in strategies),
            str(max(len(rows) for rows in by_strategy.values())),
        ]
        for name, by_strategy in found.items()
    ]


def accuracy_text(values: Sequence[float | None]) -> str:
    """The mean, with the half width of its 95 % Student-t interval where there are several values."""
    known = [value for value in values if value is not None]
    return f"{statistics.fmean(known):.2f}{_interval_text(known)}" if known else ""


def _interval_text(values: Sequence[float | None]) -> str:
    width = half_width([value for value in values if value is not None])
    return "" if width is None else f" ±{width:.2f}"


def half_width(values: Sequence[float]) -> float | None:
    """Half the 95 % Student-t interval of the mean of some values; None for fewer than two."""
    if len(values) < 2:
        return None
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


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
    if len({row.machine for row in table if row.machine}) > 1:
        ran = "; ".join(f"{', '.join(runs)} on {machine}" for machine, runs in _by_machine(table, names))
        notes.append(f"times do not compare between machines: {ran}")
    seen = set()
    for row, name in zip(table, names, strict=True):
        if row.error and row.cell not in seen:
            seen.add(row.cell)
            notes.append(f"{name} seed {row.seed}: {row.status}: {row.error}")
    return notes


def _by_machine(table: Sequence[Row], names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Each machine that runs were timed on, with the names of these."""
    runs: dict[str, set[str]] = {}
    for row, name in zip(table, names, strict=True):
        if row.machine:
            runs.setdefault(row.machine, set()).add(f"{name} seed {row.seed}")
    return [(machine, sorted(runs[machine])) for machine in sorted(runs)]


def render_check(checks: Sequence[Check], form: Format, console: Console) -> None:
    """Print the verdicts of a check."""
    if form == "json":
        console.file.write(json.dumps([asdict(check) for check in checks], indent=1) + "\n")
        return
    if form == "csv":
        header = [column.name for column in fields(Check)]
        console.file.write(to_csv(header, [list(asdict(check).values()) for check in checks]))
        return
    header = ["task", "method", "what", "value", "reference", "limit", "detects a drop of", "verdict", "note"]
    lines = [
        [
            check.task,
            check.method,
            f"{check.what} {check.strategy}".strip(),
            _figure(check, check.value, check.seeds),
            _figure(check, check.reference, check.reference_seeds),
            _figure(check, check.limit),
            _figure(check, check.detects),
            check.verdict,
            check.note,
        ]
        for check in checks
    ]
    _print(console, form, "check against measured references", header, lines, _power(checks))


def _figure(check: Check, value: float | None, seeds: int = 0) -> str:
    """A number of a check in its unit: per cent, MiB, or times the yardstick's speed."""
    if value is None:
        return "-"
    shown = {"memory": f"{value / 2**20:,.2f} MiB", "speed": f"{value:.2f} x"}.get(check.what, f"{value:.2f} %")
    return shown + (f" (n={seeds})" if seeds > 1 and check.what != "memory" else "")


def _power(checks: Sequence[Check]) -> list[str]:
    """What drops the suite is able to see, in words."""
    drops = sorted((check.detects, f"{check.method}/{check.strategy}") for check in checks if check.detects is not None)
    if not drops:
        return []
    listed = ", ".join(f"{points:.1f} points in {row}" for points, row in drops)
    return [f"With probability {POWER:.0%} or more this suite detects, and fresh seeds confirm, a drop of {listed}."]


def render_plain(
    title: str, header: Sequence[str], lines: Sequence[Sequence[str | float]], form: Format, console: Console
) -> None:
    """Print any small table in any format; numbers stay numbers in JSON, where what is not finite is null."""
    if form == "json":
        whole = [dict(zip(header, map(_json_value, line), strict=True)) for line in lines]
        console.file.write(json.dumps(whole, indent=1) + "\n")
    elif form == "csv":
        console.file.write(to_csv(header, lines))
    else:
        _print(console, form, title, header, [[str(value) for value in line] for line in lines], [])


def _json_value(value: str | float) -> str | float | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print(
    console: Console,
    form: Format,
    title: str,
    header: Sequence[str],
    lines: Sequence[Sequence[str]],
    notes: Sequence[str],
    *,
    keys: int | None = None,
) -> None:
    """Print one table; with ``keys``, a narrow terminal gets it in parts that each begin with that many columns."""
    if form == "markdown":
        _print_markdown(console, title, header, lines, notes)
        return
    # Piped output has no width of its own: rich would fold the table at 80 columns.
    wide = console if console.is_terminal else Console(file=console.file, width=WIDEST)
    parts = _parts(header, lines, keys, wide.width) if keys else [list(range(len(header)))]
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        columns = [[line[index] for line in lines] for index in part]
        table = Table(
            title=title if number == 0 else None,
            title_justify="left",
            caption=Text("\n".join(notes)) if notes and last else None,
            caption_justify="left",
        )
        trim = not any("\n" in head.strip() for head in header)
        for index, column in zip(part, columns, strict=True):
            head = header[index].strip() if trim else header[index]
            table.add_column(head, justify="right" if _is_number(column) else "left")
        for line in lines:
            table.add_row(*[Text(line[index]) for index in part])  # Text: [brackets] in a message are no markup
        wide.print(table, highlight=False)


def _parts(header: Sequence[str], lines: Sequence[Sequence[str]], keys: int, width: int) -> list[list[int]]:
    """Column numbers of the parts of a table that fit a width, the first ``keys`` columns in each."""
    padding = 3
    widths = [
        padding + max(len(text) for cell in (head, *(line[index] for line in lines)) for text in cell.split("\n"))
        for index, head in enumerate(header)
    ]
    parts: list[list[int]] = [[]]
    free = room = width - 1 - sum(widths[:keys])
    for index in range(keys, len(header)):
        if parts[-1] and widths[index] > free:
            parts.append([])
            free = room
        parts[-1].append(index)
        free -= widths[index]
    return [[*range(keys), *part] for part in parts]


def _print_markdown(
    console: Console, title: str, header: Sequence[str], lines: Sequence[Sequence[str]], notes: Sequence[str]
) -> None:
    heads = [head.strip().replace("\n", " ") for head in header]
    numeric = [_is_number(column) for column in zip(*lines, strict=True)] if lines else [False] * len(heads)
    out = [f"**{title}**", "", "| " + " | ".join(heads) + " |"]
    out.append("|" + "|".join("---:" if right else "---" for right in numeric) + "|")
    out += ["| " + " | ".join(" ".join(cell.replace("|", "\\|").split("\n")) for cell in line) + " |" for line in lines]
    out += ["", *(f"{note}  " for note in notes)] if notes else []
    console.file.write("\n".join(out) + "\n")


def _is_number(column: Sequence[str]) -> bool:
    """Whether a column holds numbers alone, an interval or a count behind them allowed."""
    filled = [cell for cell in column if cell not in ("", "-")]
    return bool(filled) and all(_NUMBER.fullmatch(cell) for cell in filled)
