"""Small tables, printed for people (rich, markdown) or programs (csv, json)."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

Format = Literal["rich", "markdown", "csv", "json"]
_NUMBER = re.compile(r"[+-]?[\d,.]+( ±[\d.]+)?( \(n=\d+\))?")
WIDEST = 200
"""Width in characters of a table printed to a file or a pipe."""


def to_csv(header: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """Comma-separated text with a header line; None becomes an empty field."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return buffer.getvalue()


def render(
    title: str, header: Sequence[str], lines: Sequence[Sequence[str | float | None]], form: Format, console: Console
) -> None:
    """Print a small table in any format; numbers stay numbers in JSON, non-finite ones become null."""
    if form == "json":
        whole = [dict(zip(header, map(_json_value, line), strict=True)) for line in lines]
        console.file.write(json.dumps(whole, indent=1) + "\n")
    elif form == "csv":
        console.file.write(to_csv(header, lines))
    else:
        print_table(
            console,
            form,
            title,
            header,
            [["-" if value is None else str(value) for value in line] for line in lines],
            [],
        )


def _json_value(value: str | float | None) -> str | float | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(
    console: Console,
    form: Format,
    title: str,
    header: Sequence[str],
    lines: Sequence[Sequence[str]],
    notes: Sequence[str],
    *,
    keys: int | None = None,
) -> None:
    """Print one table; with ``keys``, a narrow terminal gets it in parts that repeat the first ``keys`` columns."""
    if form == "markdown":
        _print_markdown(console, title, header, lines, notes)
        return
    # Piped output has no width: rich would fold the table at 80 columns.
    wide = console if console.is_terminal else Console(file=console.file, width=WIDEST)
    parts = _parts(header, lines, keys, wide.width) if keys else [list(range(len(header)))]
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        columns = [[line[index] for line in lines] for index in part]
        table = Table(
            title=Text(title, style="table.title") if number == 0 else None,  # Text: [brackets] are not markup
            title_justify="left",
            caption=Text("\n".join(notes)) if notes and last else None,
            caption_justify="left",
        )
        trim = not any("\n" in head.strip() for head in header)
        for index, column in zip(part, columns, strict=True):
            head = header[index].strip() if trim else header[index]
            table.add_column(Text(head), justify="right" if _is_number(column) else "left")
        for line in lines:
            table.add_row(*[Text(line[index]) for index in part])
        wide.print(table, highlight=False)


def width(header: Sequence[str], lines: Sequence[Sequence[str]]) -> int:
    """Characters that a table takes in a terminal, with all its columns beside each other."""
    return 1 + sum(_widths(header, lines))


def _widths(header: Sequence[str], lines: Sequence[Sequence[str]]) -> list[int]:
    """Characters of each column, with the line and the space around it."""
    padding = 3
    return [
        padding + max(len(text) for cell in (head, *(line[index] for line in lines)) for text in cell.split("\n"))
        for index, head in enumerate(header)
    ]


def _parts(header: Sequence[str], lines: Sequence[Sequence[str]], keys: int, width: int) -> list[list[int]]:
    """Column numbers of each part of a table that fits a width; every part begins with the first ``keys`` columns."""
    widths = _widths(header, lines)
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
    """Whether a column has only numbers, possibly with an interval or a count."""
    filled = [cell for cell in column if cell not in ("", "-")]
    return bool(filled) and all(_NUMBER.fullmatch(cell) for cell in filled)
