"""Tables of kept records in pages: between two marks, made from the records and by nobody's hand.

    <!-- table: results/quick -->
    ...
    <!-- end of table -->

`accuracies` instead of `table` makes one of accuracies alone, `differences: FOLDER FOLDER` one of what the second's
are above the first's. A folder is one of records, seen from the folder that holds the checkout's pages.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console

from bench import records
from bench.compare import rendering
from bench.compare.table import comparisons
from bench.errors import UserError
from bench.records import Found
from bench.report import rows
from bench.report import table as report

MARKS = re.compile(
    r"<!-- (?:(?P<kind>table|accuracies): (?P<folder>[\w./-]+)|differences: (?P<a>[\w./-]+) (?P<b>[\w./-]+)) -->\n"
    r".*?<!-- end of table -->",
    re.DOTALL,
)


def filled(text: str, root: Path) -> str:
    """A page's text with every table made anew from its records.

    Args:
        text: Markdown.
        root: the folder from which marks name folders of records.

    Raises:
        UserError: if a folder does not exist or holds no record.
    """
    return MARKS.sub(lambda found: _marked(found, root), text)


def fill(page: Path, root: Path) -> int:
    """Make every table of a page anew, and give their number.

    Raises:
        UserError: if the page does not exist or has no mark, or as ``filled``.
    """
    if not page.is_file():
        raise UserError(f"page {str(page)!r} does not exist")
    text = page.read_text(encoding="utf-8")
    count = len(MARKS.findall(text))
    if count == 0:
        raise UserError(f"{page} has no table between <!-- table: FOLDER --> and <!-- end of table -->")
    records.write_text(page, filled(text, root))
    return count


def _marked(found: re.Match[str], root: Path) -> str:
    mark = found[0].partition("\n")[0]
    out = io.StringIO()
    console = Console(file=out)
    if found["kind"] is None:
        table = comparisons(_read(root, found["a"]), _read(root, found["b"]))
        rendering.render_accuracies(table, f"A: {found['a']}, B: {found['b']}", "markdown", console)
    elif found["kind"] == "table":
        report.render_rows(rows.make(_read(root, found["folder"])), "markdown", console, fairly=False)
    else:
        report.render_accuracies(rows.make(_read(root, found["folder"])), "markdown", console)
    return f"{mark}\n{out.getvalue().strip()}\n<!-- end of table -->"


def _read(root: Path, folder: str) -> Found:
    found = records.read_all(root / folder)
    if not any(record.status == "ok" for record in found.records):
        raise UserError(f"{folder} holds no record")
    return found
