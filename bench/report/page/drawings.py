"""Figures of a page, as SVG that stands in the page itself."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import matplotlib.pyplot as plt

from bench.records import Record
from bench.report import figures

_LEFT_OUT = re.compile(r"<\?xml.*?\?>\s*|<!DOCTYPE.*?>\s*|<metadata>.*?</metadata>\s*|<!--.*?-->\s*", re.DOTALL)


@dataclass(frozen=True)
class Drawing:
    """A figure: its name, and the text of its SVG element."""

    name: str
    svg: str


def of(records: Sequence[Record]) -> list[Drawing]:
    """The figures that records have data for; letters stay letters, so that they are small and can be searched."""
    made = []
    for name, figure in figures.drawn(records):
        with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
            file = io.StringIO()
            figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
        plt.close(figure)
        svg = _LEFT_OUT.sub("", file.getvalue())
        # An id may stand in a page once; Matplotlib gives those without a hash in every figure alike.
        svg = re.sub(r' id="(?![mpC]?[0-9a-f]{8,})([^"]+)"', rf' id="{name}-\1"', svg)
        title = name.replace("-", " ")
        made.append(Drawing(name, svg.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)))
    return made
