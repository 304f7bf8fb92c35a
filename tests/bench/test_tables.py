import io
import json

import pytest
from rich.console import Console

from bench import tables


def plain(form):
    out = io.StringIO()
    lines = [["one", 1, 0.5], ["none", 0, float("nan")], ["unknown", None, None]]
    tables.render("figures", ["name", "count", "share"], lines, form, Console(file=out))
    return out.getvalue()


def test_a_small_table_keeps_its_numbers_in_json_and_has_null_for_what_is_not_finite():
    first, second, third = json.loads(plain("json"))
    assert first == {"name": "one", "count": 1, "share": 0.5}
    assert second == {"name": "none", "count": 0, "share": None}
    assert third == {"name": "unknown", "count": None, "share": None}


@pytest.mark.parametrize("form", ["rich", "markdown", "csv"])
def test_a_small_table_shows_numbers_as_they_are(form):
    shown = plain(form)
    assert "0.5" in shown
    assert "nan" in shown
    assert "None" not in shown
