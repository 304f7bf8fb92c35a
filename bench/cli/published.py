"""``bench published``."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli.options import FormatOption, OutputFormat


def published(
    task: Annotated[str | None, typer.Argument(help="A task's name; without one, all figures.")] = None,
    form: FormatOption = OutputFormat.RICH,
) -> None:
    """List the published figures, what each is of, its source, and which suites it stands beside."""
    from rich.console import Console

    from bench import tables
    from bench.reference.reach import CLOSEST_FIRST, reaches

    header = ["method", "data", "metric", "published %", "of", "source", "suites"]
    lines = []
    for each in reaches(task):
        figure = each.figure
        deviation = "" if figure.deviation is None else f" ± {figure.deviation:.2f}"
        groups = [(same, [name for name, found in each.suites.items() if found == same]) for same in CLOSEST_FIRST]
        where = "; ".join(f"{', '.join(names)} ({same})" for same, names in groups if names)
        source = f"{figure.source} ({figure.kind})"
        value = f"{figure.value:.2f}{deviation}"
        lines.append([figure.method, figure.dataset, figure.metric, value, figure.of, source, where or each.reason])
    tables.render("Published figures", header, lines, form.value, Console())
