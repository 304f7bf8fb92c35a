"""Generates the tables between markers in Markdown pages from committed records.

    <!-- table: results/quick -->
    ...
    <!-- end of table -->

`accuracies` instead of `table` makes a table of accuracies only, `differences: FOLDER FOLDER` one of the second
folder's accuracies minus the first's. Folders are relative to the root of the checkout.
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
    """Regenerate every table in a page's text from its records.

    Args:
        text: Markdown.
        root: the folder that markers' folders are relative to.

    Raises:
        UserError: if a folder does not exist or has no record.
    """
    return MARKS.sub(lambda found: _marked(found, root), text)


def fill(page: Path, root: Path) -> int:
    """Regenerate every table of a page, and return their number.

    Raises:
        UserError: if the page does not exist or has no marker, or as for ``filled``.
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
        a, b = (_read(root, found[side]) for side in ("a", "b"))
        rendering.render_accuracies(comparisons(a, b), f"A: {found['a']}, B: {found['b']}", "markdown", console)
        made = [row for side in (a, b) for row in rows.make(side)]
        notes = report.stale_notes(made, rows.labels_of_rows(made, brief=True))
        console.file.write("".join(f"\n{note}\n" for note in notes))
    elif found["kind"] == "table":
        report.render_rows(rows.make(_read(root, found["folder"])), "markdown", console, fairly=False)
    else:
        report.render_accuracies(rows.make(_read(root, found["folder"])), "markdown", console)
    return f"{mark}\n{out.getvalue().strip()}\n<!-- end of table -->"


def _read(root: Path, folder: str) -> Found:
    found = records.read_all(root / folder)
    if not any(record.status == "ok" for record in found.records):
        raise UserError(f"{folder} has no record")
    return found
