import io
from dataclasses import replace

from factories import verdict
from rich.console import Console

from bench.report import checks as rendering


def test_a_check_shows_each_figure_in_its_unit_and_says_what_it_can_see():
    out = io.StringIO()
    memory = replace(verdict("memory", "", "ok"), value=2**20, reference=2**21, limit=2**21, detects=None)
    speed = replace(verdict("speed", "", "slower"), value=0.5, detects=None)
    rendering.render([verdict("accuracy", "last", "regression"), memory, speed], "markdown", Console(file=out))
    text = out.getvalue()
    assert "| accuracy last | 90.00 % (n=3) | 91.00 % (n=20) | 90.50 % | 0.46 % | regression | why |" in text
    assert "| memory | 1.00 MiB | 2.00 MiB |" in text
    assert "| speed | 0.50 x (n=3) |" in text
    assert "a drop of 0.5 points in asge/last." in text
    assert "No drop" not in text


def test_a_check_names_the_rows_that_detect_no_useful_drop():
    out = io.StringIO()
    useless = replace(verdict("accuracy", "last", "ok"), detects=24.0)
    blind = replace(verdict("accuracy", "best", "ok"), detects=None)
    rendering.render([useless, blind], "markdown", Console(file=out, width=200))
    assert "a drop of 24.0 points in asge/last." in out.getvalue()
    assert "No drop of 5 points or fewer is detected in asge/last, asge/best." in out.getvalue()
