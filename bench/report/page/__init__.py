"""One HTML file that shows runs in a browser, without a network.

    folders of runs ---> source    what there is: records, verdicts, what live code says of methods
                         results   what the page says of them, as plain values: sections, tables
                         cells     the same of every cell; curves draws its small charts
                         drawings  the figures, as SVG, whose dots are links to cells
                         template.html, style.css, script.js ---> one file

The page is whole without JavaScript; the script sorts, filters, compares and copies. Its policy forbids fetching.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from bench import records
from bench.report.page import drawings, results
from bench.report.page.source import About, Source, read

__all__ = ["About", "Source", "page", "read", "write"]


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
    script = _part("script.js")
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(_part("template.html"))
    return template.render(
        sections=sections,
        figures={section.anchor: _figures(section) for section in sections},
        columns=results.COLUMNS,
        style=_part("style.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _named_apart(sources: Sequence[Source]) -> list[Source]:
    """The same, with a number after a name that another one has too: addresses in the page begin with names."""
    seen: dict[str, int] = {}
    named = []
    for source in sources:
        number = seen[source.name] = seen.get(source.name, 0) + 1
        named.append(source if number == 1 else replace(source, name=f"{source.name}-{number}"))
    return named


def _figures(section: results.Section) -> list[drawings.Drawing]:
    cells = {cell.id: (cell.anchor, cell.title) for cell in section.cells}
    files = drawings.drawn(section.records) if section.drawn is None else section.drawn
    return drawings.linked(section.anchor, section.task, files, cells)


def _part(name: str) -> str:
    return (resources.files("bench.report.page") / name).read_text(encoding="utf-8")
