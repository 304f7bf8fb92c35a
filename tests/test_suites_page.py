"""The page about suites knows every key and every suite, and its example is one."""

import re
import tomllib
from pathlib import Path

import pytest

from bench import suites
from bench.suites.file import StartTable, Suite, TuningTable

PAGE = (Path(__file__).parents[1] / "docs" / "suites.md").read_text(encoding="utf-8")


def section(heading):
    """The text between a heading and the next one."""
    return re.split(r"^#+ .*$", PAGE.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def described(text):
    """The keys in the first column of the tables of a text."""
    first = "".join(re.findall(r"^\|([^|]*)\|", text, flags=re.MULTILINE))
    return set(re.findall(r"`([\w-]+)`", first))


def test_every_key_is_described_and_no_other():
    assert described(section("All keys")) == set(Suite.model_fields) - {"name"}
    assert described(section("Settings from tuning")) == set(TuningTable.model_fields)
    assert set(StartTable.model_fields) <= set(re.findall(r"`(\w+)`", section("Starting from a checkpoint")))


def test_defaults_are_those_of_the_model():
    for line in section("All keys").splitlines():
        key, default = (part.strip(" `") for part in (line.split("|") + 5 * [""])[1:4:2])
        if key in Suite.model_fields:
            field = Suite.model_fields[key]
            assert (default == "required") == field.is_required(), key
            if isinstance(field.default, int | str):
                assert default == (str(field.default) or "empty"), key


def test_every_shipped_suite_is_listed_and_no_other():
    assert described(section("Suites that come with the project")) == set(suites.names())


def test_the_example_is_a_suite_of_nine_cells():
    [example] = re.findall(r"^```toml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    suite = Suite.model_validate({**tomllib.loads(example), "name": "example"})
    assert len(suites.cells(suite, suites.Overrides(threads=1))) == 9


@pytest.mark.parametrize("heading", ["Sweeps", "Exceptions for some cells", "Starting from a checkpoint"])
def test_snippets_are_valid(heading):
    snippet = "\n".join(line[4:] for line in section(heading).splitlines() if line.startswith("    "))
    methods = {"asge": {}, "backprop": {}, "cwc": {}, "ff": {}, "local-error": {}}
    rest = {"name": "snippet", "tasks": ["digits"], "epochs": 1, "methods": methods, "sweep": {}}
    rest["sweep"] = {"local-error": {"signal": ["pred", "predsim"]}} if "Exceptions" in heading else {}
    suite = Suite.model_validate({**rest, **tomllib.loads(snippet)})
    found = suites.cells(suite, suites.Overrides(threads=1))
    assert len([cell for cell in found if cell.method == "backprop"]) == {
        "Sweeps": 7,
        "Starting from a checkpoint": 2,
    }.get(heading, 1)
