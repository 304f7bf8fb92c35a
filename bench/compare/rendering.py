"""Prints a comparison's table, notes and summary, in every format."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import get_args

from rich.console import Console

from bench import tables
from bench.compare.table import Comparison, Verdict

_HEADER = [
    "task\n",
    "method\n",
    "strategy\n",
    "A\n%",
    "B\n%",
    "B - A, points\n[95 % interval]",
    "B better,\nprobability",
    "verdict\n",
    "train speed B/A\n[95 % interval]",
    "speed\nA/A",
    "speed\nverdict",
]


def render(table: Sequence[Comparison], title: str, form: tables.Format, console: Console) -> None:
    """Print rows: csv and json with raw numbers, rich and markdown with summary and notes."""
    if form == "json":
        console.file.write(json.dumps([asdict(row) for row in table], indent=1) + "\n")
        return
    if form == "csv":
        lines = [[*list(asdict(row).values())[:-1], "; ".join(row.notes)] for row in table]
        console.file.write(tables.to_csv([column.name for column in fields(Comparison)], lines))
        return
    below = notes(table)
    if form == "markdown":
        console.file.write(f"{summary(table)}\n\n")
    tables.render(title, _HEADER, [_line(row) for row in table], form, console)
    if form == "markdown":
        console.file.write("".join(["\n", *(f"{note}  \n" for note in below)]) if below else "")
    else:
        for text in [*below, summary(table)]:
            console.print(text, highlight=False, markup=False, soft_wrap=True)


def render_accuracies(table: Sequence[Comparison], title: str, form: tables.Format, console: Console) -> None:
    """Print only the accuracies of rows, without speed and notes."""
    columns = [index for index, name in enumerate(_HEADER) if "speed" not in name and "probability" not in name]
    header, *lines = ([line[index] for index in columns] for line in [_HEADER, *(_line(row) for row in table)])
    tables.render(title, header, lines, form, console)


def summary(table: Sequence[Comparison]) -> str:
    """Count the verdicts: accuracy by row, speed by method."""
    verdicts = Counter(row.verdict for row in table)
    counts = [f"{verdicts[verdict]} {verdict}" for verdict in get_args(Verdict) if verdicts[verdict]]
    first, *others = counts
    number, _, verdict = first.partition(" ")
    text = ", ".join([f"{number} {'row' if number == '1' else 'rows'} {verdict}", *others])
    speeds = Counter({(row.task, row.label): row.speed_verdict for row in table if row.speed_verdict}.values())
    judged = [f"{speeds[verdict]} {verdict}" for verdict in ("faster", "slower", "same", "noisy") if speeds[verdict]]
    return f"{text}; speed: {', '.join(judged)}" if judged else text


def notes(table: Sequence[Comparison]) -> list[str]:
    """The notes of all rows, each once with its rows, then the notes on the whole table."""
    holds: dict[tuple[str, str, str], list[str]] = {}
    for row in table:
        for note in row.notes:
            holds.setdefault((row.task, row.label, note), []).append(row.strategy)
    told = [
        f"{task} {label}{'/' if any(strategies) else ''}{', '.join(strategies)}: {note}"
        for (task, label, note), strategies in holds.items()
    ]
    if any(row.speed_ratio is not None and not row.speed_verdict for row in table):
        told.append("a speed is judged only with three runs or more in all and with a second run of A, the A/A ratio")
    return told


def _line(row: Comparison) -> list[str]:
    probability = "-" if row.probability is None else f"{row.probability:.3f}"
    return [
        row.task,
        row.label,
        row.strategy,
        _mean(row.mean_a, row.n_a),
        _mean(row.mean_b, row.n_b),
        _with_interval(row.difference, row.low, row.high, "+.2f"),
        probability,
        row.verdict,
        _with_interval(row.speed_ratio, row.speed_low, row.speed_high, ".3f"),
        "-" if row.speed_same is None else f"{row.speed_same:.3f}",
        row.speed_verdict or "-",
    ]


def _mean(mean: float | None, count: int) -> str:
    return "-" if mean is None else f"{mean:.2f} (n={count})"


def _with_interval(value: float | None, low: float | None, high: float | None, form: str) -> str:
    if value is None:
        return "-"
    return f"{value:{form}}" if low is None or high is None else f"{value:{form}} [{low:{form}}, {high:{form}}]"
