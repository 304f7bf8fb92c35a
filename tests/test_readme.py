"""The README's table is what its records say."""

import io
from pathlib import Path

from rich.console import Console

from bench import records, report, rows

ROOT = Path(__file__).parents[1]


def test_the_table_is_made_from_the_kept_records():
    text = (ROOT / "README.md").read_text()
    shown = text.split("<!-- table: quick -->\n")[1].split("<!-- end of table -->")[0]
    out = io.StringIO()
    report.render_rows(rows.make(records.read_all(ROOT / "results" / "quick")), "markdown", Console(file=out))
    table, fairness = out.getvalue().split("\n**fashion-mnist: what was equal**")
    assert shown.strip() == table.strip()
    assert "| epochs | yes |" in fairness


def test_the_pictures_are_there():
    text = (ROOT / "README.md").read_text()
    for line in text.splitlines():
        if line.startswith("!["):
            assert (ROOT / line.split("](")[1].rstrip(")")).is_file()
