import io
from dataclasses import replace

from rich.console import Console

from bench.reference import rendering
from bench.reference.verdicts import Check

SEEN = Check(
    task="fashion-mnist", method="asge", what="accuracy", strategy="last", experiment="e", verdict="regression",
    note="why", value=90.0, seeds=3, reference=91.0, reference_seeds=20, limit=90.5, detects=0.456,
)  # fmt: skip


def test_a_check_shows_each_figure_in_its_unit_and_says_what_it_can_see():
    out = io.StringIO()
    memory = replace(
        SEEN, what="memory", strategy="", verdict="ok", value=2**20, reference=2**21, limit=2**21, detects=None
    )
    speed = replace(SEEN, what="speed", strategy="", verdict="slower", value=0.5, detects=None)
    rendering.render([SEEN, memory, speed], "markdown", Console(file=out))
    text = out.getvalue()
    assert "| accuracy last | 90.00 % (n=3) | 91.00 % (n=20) | 90.50 % | 0.46 % | regression | why |" in text
    assert "| memory | 1.00 MiB | 2.00 MiB |" in text
    assert "| speed | 0.50 x (n=3) |" in text
    assert "a drop of 0.5 points in asge/last." in text
