"""One HTML file that shows runs in a browser, without a network.

    folders of runs ---> source    what there is: records, verdicts, what live code says of methods
                         results   what the page says of them, as plain values: sections, tables
                         cells     the same of every cell; charts draws small ones
                         drawings  the figures, as SVG, whose dots are links to cells
                         template.html, style.css, script.js ---> one file

    bench.report.leaderboard ---> board.html, style.css ---> another

The page is whole without JavaScript; the script sorts, filters, compares and copies. Its policy forbids fetching.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from bench import records
from bench.report.leaderboard import HEADER, Board
from bench.report.page import charts, drawings, results
from bench.report.page.source import About, Source, read
from bench.statistics import half_width

__all__ = ["About", "Source", "leaderboard", "page", "read", "write"]


def write(sources: Sequence[Source], out: Path) -> Path:
    """Write the page of some runs.

    Args:
        sources: see ``read``.
        out: the file.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    records.write_text(out, page(sources))
    return out


def page(sources: Sequence[Source]) -> str:
    """The page's text: the same records give the same text."""
    sections = [section for source in _named_apart(sources) for section in results.sections(source)]
    script, styles = _part("script.js"), drawings.Styles()
    return _filled(
        "template.html",
        sections=sections,
        figures={section.anchor: _figures(number, section, styles) for number, section in enumerate(sections)},
        styles=styles,
        columns=results.COLUMNS,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def leaderboard(boards: Sequence[Board]) -> str:
    """The text of a page of boards, which needs no script."""
    axis = "test accuracy, %: mean over seeds, 95 % interval"
    charts_of = [
        charts.intervals(
            f"Accuracies of {board.title}",
            axis,
            {f"{line.label} / {line.strategy}": (line.accuracies, half_width(line.accuracies)) for line in board.lines},
        )
        for board in boards
    ]
    return _filled("board.html", boards=boards, header=HEADER, charts=charts_of)


def _filled(template: str, **values: Any) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_part(template)).render(style=_part("style.css"), **values)


def _named_apart(sources: Sequence[Source]) -> list[Source]:
    """The same, with a number after a name that another one has too: addresses in the page begin with names."""
    seen: dict[str, int] = {}
    named = []
    for source in sources:
        number = seen[source.name] = seen.get(source.name, 0) + 1
        named.append(source if number == 1 else replace(source, name=f"{source.name}-{number}"))
    return named


def _figures(number: int, section: results.Section, styles: drawings.Styles) -> list[drawings.Drawing]:
    cells = {cell.id: (cell.anchor, cell.title) for cell in section.cells}
    files = drawings.drawn(section.records) if section.drawn is None else section.drawn
    return drawings.linked(number, section.task, files, cells, styles)


def _part(name: str) -> str:
    return (resources.files("bench.report.page") / name).read_text(encoding="utf-8")
