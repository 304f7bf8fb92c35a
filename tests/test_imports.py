"""Dependencies point one way: the harness imports both libraries, the baselines import ASGE, never the reverse."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def imported(file):
    """The top-level packages that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize(("package", "foreign"), [("asge", {"baselines", "bench"}), ("baselines", {"bench"})])
def test_the_libraries_do_not_know_what_is_built_on_them(package, foreign):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    assert {file.name: found for file in files if (found := foreign & set(imported(file)))} == {}
