"""Every table in a page equals its records, and every picture exists."""

import re
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.report import pages

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "results/README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def name(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_tables_are_made_from_the_kept_records(page):
    text = page.read_text()
    for there, made in zip(pages.MARKS.finditer(text), pages.MARKS.finditer(pages.filled(text, ROOT)), strict=True):
        if there[0] != made[0]:
            mark = there[0].partition("\n")[0]
            why = "other code has made its records" if "other code" in made[0] else "its records are others"
            pytest.fail(f"{name(page)}: {mark}: {why}; `bench fill {name(page)}` makes it again", pytrace=False)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pictures_are_there(page):
    for picture in re.findall(r"^!\[[^\]]*\]\(([^)]+)\)", page.read_text(), re.MULTILINE):
        assert (page.parent / picture).is_file()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_blocks_are_python(page):
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        compile(block, name(page), "exec")


def test_what_experiments_found_is_among_the_pages():
    marked = {name(page) for page in PAGES if pages.MARKS.search(page.read_text())}
    assert marked >= {"README.md", "docs/results/asge.md", "docs/results/baselines.md", "docs/results/papers.md"}


def test_the_readme_begins_with_a_table_and_a_picture():
    text = (ROOT / "README.md").read_text()
    assert "<!-- leaderboard: results/quick -->" in text
    assert text.index("![") < text.index("<!-- leaderboard")


def test_a_page_has_tables_of_all_figures_and_of_accuracies_alone(tmp_path):
    page = tmp_path / "page.md"
    marks = [f"<!-- {kind}: results/quick -->\n<!-- end of table -->\n" for kind in ("table", "accuracies")]
    page.write_text("and\n".join(marks))
    assert pages.fill(page, ROOT) == 2
    first, second = page.read_text().split("\nand\n")
    assert "peak live MiB" in first
    assert "peak live MiB" not in second
    assert "| method | last |" in second


def test_a_page_has_what_one_folder_is_above_another(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- differences: results/tuning-start results/tuning-tuned -->\n<!-- end of table -->\n")
    assert pages.fill(page, ROOT) == 1
    text = page.read_text()
    assert "| task | method | strategy | A % | B % | B - A, points [95 % interval] | verdict |" in text
    assert "speed" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no mark", "has no table between"),
        ("<!-- table: results/none -->\n<!-- end of table -->", "does not exist"),
        ("<!-- table: empty -->\n<!-- end of table -->", "empty has no record"),
        ("<!-- differences: empty none -->\n<!-- end of table -->", "empty has no record"),
    ],
)
def test_pages_that_cannot_be_filled(text, message, tmp_path):
    (tmp_path / "empty").mkdir()
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(UserError, match=message):
        pages.fill(page, tmp_path)
    assert page.read_text() == text
