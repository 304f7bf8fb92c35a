"""Links and paths in Markdown pages lead to files of the repository, and anchors to headings."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GENERATED = {
    ROOT / "results" / "runs",
    ROOT / "results" / "studies",
    ROOT / "results" / "tuning",
    ROOT / "gate-out",
    ROOT / "data",
}
PATH = re.compile(r"(?<![\w./-])(?:asge|baselines|bench|docs|results|tests|\.ci)/[\w./-]*\w")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def pages(folder=ROOT):
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith(".") and path not in GENERATED:
            yield from pages(path)
        elif path.suffix == ".md":
            yield path


def prose(text):
    """A page without its code."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^    .*$", "", text, flags=re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(text):
    """The anchors that GitHub gives the headings of a page."""
    found = []
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#+ +(.*?)\s*$", without_code, flags=re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        same = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", other) is not None for other in found)
        found.append(f"{slug}-{same}" if same else slug)
    return found


def broken(page):
    for target in LINK.findall(prose(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            yield target


@pytest.mark.parametrize("page", list(pages()), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert list(broken(page)) == []


@pytest.mark.parametrize("page", list(pages()), ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_in_the_text_exist(page):
    code = re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8"))
    paths = [ROOT / path for text in code for path in PATH.findall(text)]
    assert [path for path in paths if not path.exists() and not GENERATED & {path, *path.parents}] == []


def test_the_pages_of_the_documentation_are_among_them():
    names = {str(page.relative_to(ROOT)) for page in pages()}
    assert {"README.md", "CONTRIBUTING.md", "docs/asge.md", "docs/results/README.md", "results/README.md"} <= names


def test_broken_links_and_anchors_are_found(tmp_path):
    (tmp_path / "other.md").write_text("# A title: `code`, & more\n\n## Twice\n\n## Twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md) [b](other.md#a-title-code--more) [c](other.md#twice-1) [d](#here) [e](https://example.org)\n"
        "[f](none.md) [g](other.md#none) [h](#none) ![i](none.png) `[j](none.md)`\n\n    [k](none.md)\n\n# Here\n"
    )
    assert list(broken(page)) == ["none.md", "other.md#none", "#none", "none.png"]
