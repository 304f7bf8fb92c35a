"""Generates the tables between markers in Markdown pages from committed records.

    <!-- table: results/quick -->
    ...
    <!-- end of table -->

`accuracies` instead of `table` makes a table of accuracies only, `differences: FOLDER FOLDER` one of the second
folder's accuracies minus the first's, `effects: FOLDER CHOICE ...` one of what settings do within a folder, `study` the
table of a study, `leaderboard: FOLDER[+FOLDER] ...` the boards of folders, `stale` one of which folders below it have
records that other code has made, `published` one of the published figures, each beside the closest of the records below
it. Folders are relative to the root of the checkout.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

from pydantic import BaseModel, ValidationError, model_validator
from rich.console import Console

from bench import records, tables
from bench.compare import rendering
from bench.compare.effects import Choice, effects
from bench.compare.table import comparisons
from bench.errors import UserError
from bench.options import DEFAULT_RUNS
from bench.records import Found, sources
from bench.report import leaderboard, published, rows
from bench.report import table as report

STALE = ["folder", "records", "by other code", "minutes of their training"]
MARKS = re.compile(
    r"<!-- (?:(?P<kind>table|accuracies|study|stale|published): (?P<folder>[\w./-]+)"
    r"|differences: (?P<a>[\w./-]+) (?P<b>[\w./-]+)"
    r"|leaderboard: (?P<boards>[\w./+-]+( [\w./+-]+)*)"
    r"|effects: (?P<within>[\w./-]+)(?P<choices>( [\w.=+-]+)+)) -->\n"
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
        UserError: if the page does not exist, is not UTF-8 or has no marker, or as for ``filled``.
    """
    if not page.is_file():
        raise UserError(f"page {str(page)!r} does not exist")
    try:
        text = page.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"page {page} is not UTF-8: {error}") from None
    count = len(MARKS.findall(text))
    if count == 0:
        raise UserError(f"{page} has no table between <!-- table: FOLDER --> and <!-- end of table -->")
    records.write_text(page, filled(text, root))
    return count


def _marked(found: re.Match[str], root: Path) -> str:
    mark = found[0].partition("\n")[0]
    out = io.StringIO()
    console = Console(file=out)
    if found["boards"] is not None:
        for board in leaderboard.boards(found["boards"].split(), root):
            lines = [line.cells for line in board.lines]
            tables.print_table(console, "markdown", board.title, leaderboard.HEADER, lines, board.notes)
            console.file.write("\n")
    elif found["within"] is not None:
        table = effects(_read(root, found["within"]), [Choice.parse(each) for each in found["choices"].split()])
        title = f"Within {found['within']}: B instead of A, mean and 95 % interval, paired by seed"
        rendering.render_accuracies(table, title, "markdown", console)
    elif found["kind"] is None:
        a, b = (_read(root, found[side]) for side in ("a", "b"))
        rendering.render_accuracies(comparisons(a, b), f"A: {found['a']}, B: {found['b']}", "markdown", console)
        made = [row for side in (a, b) for row in rows.make(side)]
        notes = report.stale_notes(made, rows.labels_of_rows(made, brief=True))
        console.file.write("".join(f"\n{note}\n" for note in notes))
    elif found["kind"] == "study":
        study = _read_study(root / found["folder"] / records.STUDY_FILE)
        tables.print_table(console, "markdown", study.title, study.columns, study.lines, study.notes)
    elif found["kind"] == "stale":
        tables.print_table(console, "markdown", "Which code made the records", STALE, _stale(root, found["folder"]), [])
    elif found["kind"] == "published":
        title = "Published figures, and the closest of our records"
        tables.print_table(console, "markdown", title, published.COLUMNS, published.lines(root / found["folder"]), [])
    elif found["kind"] == "table":
        report.render_rows(rows.make(_read(root, found["folder"])), "markdown", console, fairly=False)
    else:
        report.render_accuracies(rows.make(_read(root, found["folder"])), "markdown", console)
    return f"{mark}\n{out.getvalue().strip()}\n<!-- end of table -->"


def _stale(root: Path, folder: str) -> list[list[str]]:
    """A line per folder of runs: its records, those of other code, and the minutes that their training took.

    What commands write where they are not told where is left out: it is not kept.
    """
    lines = []
    for place in (each for each in records.folders(root / folder) if each != root / DEFAULT_RUNS):
        found = records.read_all(place).records
        old = [record for record in found if sources.is_current(record) is False]
        minutes = sum(record.training.seconds for record in old if record.training) / 60
        lines.append([place.relative_to(root).as_posix(), str(len(found)), str(len(old)), f"{minutes:,.0f}"])
    return lines


class _Study(BaseModel):
    """What a page shows of a study's record."""

    study: str
    task: str
    columns: tuple[str, ...]
    rows: list[list[str | int | float]]
    notes: list[str]

    @property
    def title(self) -> str:
        return f"{self.study}, {self.task}"

    @property
    def lines(self) -> list[list[str]]:
        return [[str(value) for value in row] for row in self.rows]

    @model_validator(mode="after")
    def _is_a_table(self) -> _Study:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError("every row must have a value per column")
        return self


def _read_study(path: Path) -> _Study:
    if not path.is_file():
        raise UserError(f"{path} does not exist; `bench study NAME --out FOLDER` writes it")
    try:
        return _Study.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise UserError(f"{path} is not the record of a study ({where}: {first['msg']})") from None


def _read(root: Path, folder: str) -> Found:
    found = records.read_all(root / folder)
    if not any(record.status == "ok" for record in found.records):
        raise UserError(f"{folder} has no record")
    return found
