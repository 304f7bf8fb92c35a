"""Tables of kept records in pages: between two marks, made from the records and by nobody's hand.

    <!-- table: results/quick -->
    ...
    <!-- end of table -->

`accuracies` instead of `table` makes one of accuracies alone. The folder is one of records, seen from the folder that
holds the checkout's pages.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console

from bench import records, report, rows
from bench.errors import UserError

MARKS = re.compile(r"<!-- (?P<kind>table|accuracies): (?P<folder>[\w./-]+) -->\n.*?<!-- end of table -->", re.DOTALL)


def filled(text: str, root: Path) -> str:
    """A page's text with every table made anew from its records.

    Args:
        text: Markdown.
        root: the folder from which marks name folders of records.

    Raises:
        UserError: if a folder does not exist or holds no record.
    """
    return MARKS.sub(lambda found: _marked(found["kind"], found["folder"], root), text)


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


def _marked(kind: str, folder: str, root: Path) -> str:
    lines = rows.make(records.read_all(root / folder))
    if not any(line.status == "ok" for line in lines):
        raise UserError(f"{folder} holds no record")
    out = io.StringIO()
    if kind == "table":
        report.render_rows(lines, "markdown", Console(file=out), fairly=False)
    else:
        report.render_accuracies(lines, "markdown", Console(file=out))
    return f"<!-- {kind}: {folder} -->\n{out.getvalue().strip()}\n<!-- end of table -->"
