"""Small charts of one cell, drawn without a library: a page may have hundreds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 340, 150
LEFT, RIGHT, TOP, BOTTOM = 42, 96, 12, 30
"""Margins, for labels."""
LINE_HEIGHT = 13
SHAPES = ("", "5 3", "2 2", "7 2 2 2")
"""Dashes of lines, so that color is not all that tells them apart."""


def chart(title: str, below: str, lines: Mapping[str, Sequence[float]]) -> Markup:
    """A line chart as an SVG element: values against 1, 2, ..., with the names of the lines at their ends.

    Args:
        title: what it shows.
        below: name of the horizontal axis.
        lines: values by name; empty lines, and those with a value that is no number, are left out.
    """
    drawn = {name: values for name, values in lines.items() if values and all(map(math.isfinite, values))}
    if not drawn:
        return Markup()
    every = [value for values in drawn.values() for value in values]
    low, high = min(every), max(every)
    span = high - low or 1.0
    most = max(map(len, drawn.values()))

    def place(index: int, value: float) -> tuple[float, float]:
        across = (WIDTH - LEFT - RIGHT) * (index / (most - 1) if most > 1 else 0.5)
        return LEFT + across, TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / span)

    parts = [_text(LEFT - 6, place(0, value)[1] + 4, f"{value:.1f}", "end") for value in dict.fromkeys((low, high))]
    numbers = sorted({0, most - 1})
    parts += [_text(place(index, low)[0], HEIGHT - BOTTOM + 16, str(index + 1), "middle") for index in numbers]
    parts.append(_text(LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 2, below, "middle"))
    heights = _apart({name: place(len(values) - 1, values[-1])[1] for name, values in drawn.items()})
    for number, (name, values) in enumerate(drawn.items()):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*each) for each in enumerate(values)))
        kind = f"line{number % 6}"
        dashes = SHAPES[number % len(SHAPES)]
        parts.append(Markup('<polyline class="{}" points="{}" stroke-dasharray="{}"/>').format(kind, points, dashes))
        if len(values) == 1:
            x, y = place(0, values[0])
            parts.append(Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="2.5"/>').format(kind, x, y))
        end = place(len(values) - 1, values[-1])[0] + 6
        parts.append(_text(end, heights[name] + 4, f"{name} {values[-1]:.1f}", "start", kind))
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    element = Markup('<svg class="chart" {} role="img" aria-label="{}">{}</svg>')
    return element.format(Markup(size), title, Markup().join(parts))  # noqa: S704 -- the size is of this file


def _apart(wanted: Mapping[str, float]) -> dict[str, float]:
    """Heights of labels, near those wanted but no two over each other."""
    placed: dict[str, float] = {}
    lowest = float(TOP - LINE_HEIGHT)
    for name in sorted(wanted, key=lambda each: wanted[each]):
        lowest = placed[name] = max(wanted[name], lowest + LINE_HEIGHT)
    return placed


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="{}">{}</text>').format(
        x, y, anchor, kind, escape(text)
    )
