"""One HTML file that shows runs in a browser, without a network.

    folders of runs ---> content    what the page says, as plain values
                         drawings   its figures, as SVG
                         template.html, style.css, script.js ---> one file

The page is whole without JavaScript; the script sorts, filters and copies. Its policy forbids to fetch anything.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from bench import records
from bench.report.page import content, drawings


def write(folders: Sequence[Path], out: Path) -> Path:
    """Write the page of some folders of runs.

    Args:
        folders: of runs.
        out: the file.

    Raises:
        UserError: if a folder does not exist, has no record, or has something unreadable.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    records.write_text(out, page(folders))
    return out


def page(folders: Sequence[Path]) -> str:
    """The page's text: the same records give the same text."""
    sections = [section for folder in folders for section in content.sections(folder)]
    script = _part("script.js")
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(_part("template.html"))
    return template.render(
        sections=sections,
        figures={section.anchor: drawings.of(section.records) for section in sections},
        columns=content.COLUMNS,
        style=_part("style.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _part(name: str) -> str:
    return (resources.files("bench.report.page") / name).read_text(encoding="utf-8")
