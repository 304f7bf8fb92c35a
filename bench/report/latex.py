r"""Tables for papers: LaTeX with the packages booktabs and siunitx.

    \usepackage{booktabs}
    \usepackage[separate-uncertainty]{siunitx}

An accuracy is the mean over seeds with the half width of its 95 % t-interval. A line is bold where its mean is the
highest of its column and differs from that of every other line by the two-sample t-test, at 5 % for all of them
together (Sidak's level); so nothing is bold where seeds are few or close.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.report.rows import Row, labels_of_rows
from bench.statistics import CONFIDENCE, half_width

MIB = 2**20
BOLD = r"\bfseries "
_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


@dataclass
class Line:
    """A line of a table: runs that differ in their seeds only.

    Attributes:
        name: of method and conditions.
        rows: by strategy, one per seed.
    """

    name: str
    rows: dict[str, list[Row]] = field(default_factory=dict)

    def accuracies(self, strategy: str) -> list[float]:
        """In per cent, by seed."""
        return [row.accuracy for row in self.rows.get(strategy, []) if row.accuracy is not None]


def of_rows(table: Sequence[Row]) -> str:
    """A table per task: a line per method, conditions and strategy, with accuracy, speed, memory and parameters."""
    return "\n".join(_of_task(task, _lines(table, task)) for task in _tasks(table))


def of_accuracies(table: Sequence[Row]) -> str:
    """A table per task: a line per method and conditions, with a column of accuracies per strategy."""
    return "\n".join(_accuracies_of_task(task, _lines(table, task)) for task in _tasks(table))


def _tasks(table: Sequence[Row]) -> list[str]:
    return sorted({row.task for row in table if row.status == "ok"})


def _lines(table: Sequence[Row], task: str) -> list[Line]:
    good = [row for row in table if row.task == task and row.status == "ok"]
    lines: dict[str, Line] = {}
    for row, name in zip(good, labels_of_rows(good), strict=True):
        lines.setdefault(name, Line(name)).rows.setdefault(row.strategy, []).append(row)
    return list(lines.values())


def _of_task(task: str, lines: Sequence[Line]) -> str:
    kinds = [(line, strategy) for line in lines for strategy in line.rows]
    values = [line.accuracies(strategy) for line, strategy in kinds]
    bold = _clear_best(values)
    body = [
        [
            escaped(line.name),
            escaped(strategy),
            (BOLD if index == bold else "") + _accuracy(values[index]),
            _mean([row.train_images_per_second for row in line.rows[strategy]], 1),
            _mean([row.peak_live_bytes for row in line.rows[strategy]], MIB, 1),
            _mean([row.parameters for row in line.rows[strategy]], 1e6, 2),
        ]
        for index, (line, strategy) in enumerate(kinds)
    ]
    columns = [
        "l",
        "l",
        _accuracy_column(values),
        *(_number_column(each) for each in list(zip(*body, strict=True))[3:]),
    ]
    header = ["method", "strategy", r"{accuracy (\%)}", "{img/s}", "{live MiB}", "{parameters (M)}"]
    return _tabular(task, columns, header, body)


def _accuracies_of_task(task: str, lines: Sequence[Line]) -> str:
    strategies = list(dict.fromkeys(strategy for line in lines for strategy in line.rows))
    by_column = [[line.accuracies(strategy) for line in lines] for strategy in strategies]
    bold = [_clear_best(values) for values in by_column]
    body = [
        [
            escaped(line.name),
            *(
                (BOLD if bold[column] == index else "") + _accuracy(values[index])
                for column, values in enumerate(by_column)
            ),
        ]
        for index, line in enumerate(lines)
    ]
    header = ["method", *(f"{{{escaped(strategy)}}}" for strategy in strategies)]
    return _tabular(task, ["l", *map(_accuracy_column, by_column)], header, body)


def _tabular(task: str, columns: Sequence[str], header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [" & ".join(cells) + r" \\" for cells in (header, *body)]
    return "\n".join(
        [
            f"% {task}: test accuracy of the last epoch, mean and half width of the 95 % interval over seeds",
            rf"\begin{{tabular}}{{{' '.join(columns)}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def escaped(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return re.sub(r"[\\~^&%$#_{}]", lambda found: _SPECIAL.get(found[0], "\\" + found[0]), text)


def _accuracy(values: Sequence[float]) -> str:
    if not values:
        return "{--}"
    width = half_width(values)
    return f"{statistics.fmean(values):.2f}" + ("" if width is None else f" +- {width:.2f}")


def _mean(values: Sequence[float | None], unit: float, digits: int = 0) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.fmean(known) / unit:.{digits}f}" if known else "{--}"


def _accuracy_column(columns: Sequence[Sequence[float]]) -> str:
    """A column of accuracies: digits before the point, two after it, and those of the uncertainty in hundredths."""
    known = [values for values in columns if values]
    whole = max((len(f"{statistics.fmean(values):.0f}") for values in known), default=1)
    widths = [width for values in known if (width := half_width(values)) is not None]
    uncertainty = f"({len(f'{100 * max(widths):.0f}')})" if widths else ""
    return f"S[table-format={whole}.2{uncertainty}]"


def _number_column(cells: Sequence[str]) -> str:
    numbers = [cell.partition(".") for cell in cells if cell[0] != "{"]
    whole, after = (max((len(part[place]) for part in numbers), default=0) for place in (0, 2))
    return f"S[table-format={max(1, whole)}{f'.{after}' if after else ''}]"


def _clear_best(columns: Sequence[Sequence[float]]) -> int | None:
    """The index of the values whose mean is above those of all others, by more than chance; None if there is none."""
    from bench.compare.table import difference
    from bench.reference.significance import sidak

    known = [index for index, values in enumerate(columns) if values]
    if len(known) < 2:
        return None
    best = max(known, key=lambda index: statistics.fmean(columns[index]))
    level = sidak(1 - CONFIDENCE, len(known) - 1)
    for index in known:
        if index != best:
            found = difference(columns[index], columns[best])
            if found is None or 2 * (1 - found.probability) >= level:
                return None
    return best
