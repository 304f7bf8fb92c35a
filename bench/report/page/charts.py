"""Small charts, drawn without a library: a page may have hundreds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 340, 150
LEFT, RIGHT, TOP, BOTTOM = 42, 96, 12, 30
"""Margins, for labels."""
LINE_HEIGHT = 13
MOST_SHOWN = 40.0
"""Points below the best mean at which an axis of accuracies ends: what is worse stands at the edge."""
SHAPES = ("", "5 3", "2 2", "7 2 2 2")
"""Dashes of lines, so that color is not all that tells them apart."""


def lines(title: str, below: str, values: Mapping[str, Sequence[float]]) -> Markup:
    """A line chart as an SVG element: values against 1, 2, ..., with the names of the lines at their ends.

    Args:
        title: what it shows.
        below: name of the horizontal axis.
        values: by name of the line; empty lines, and those with a value that is no number, are left out.
    """
    drawn = {name: line for name, line in values.items() if line and all(map(math.isfinite, line))}
    if not drawn:
        return Markup()
    every = [value for line in drawn.values() for value in line]
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
    heights = _apart({name: place(len(line) - 1, line[-1])[1] for name, line in drawn.items()})
    for number, (name, line) in enumerate(drawn.items()):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*each) for each in enumerate(line)))
        kind = f"line{number % 6}"
        dashes = SHAPES[number % len(SHAPES)]
        parts.append(Markup('<polyline class="{}" points="{}" stroke-dasharray="{}"/>').format(kind, points, dashes))
        if len(line) == 1:
            x, y = place(0, line[0])
            parts.append(Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="2.5"/>').format(kind, x, y))
        end = place(len(line) - 1, line[-1])[0] + 6
        parts.append(_text(end, heights[name] + 4, f"{name} {line[-1]:.1f}", "start", kind))
    return _element(title, WIDTH, HEIGHT, parts)


def intervals(title: str, below: str, values: Mapping[str, tuple[Sequence[float], float | None]]) -> Markup:
    """Means with intervals, one below the other, as an SVG element; the values of which they are means are dots.

    Args:
        title: what it shows.
        below: name of the horizontal axis.
        values: by name: values, and half the width of the interval of their mean, if it is known.
    """
    means = {name: statistics.fmean(each) for name, (each, _) in values.items()}
    lowest = max(means.values()) - MOST_SHOWN
    points = [value for each, _ in values.values() for value in each]
    ends = [means[name] + sign * (half or 0.0) for name, (_, half) in values.items() for sign in (-1, 1)]
    low, high = max(min([*points, *ends]), lowest), min(max([*points, *ends]), 100.0)
    width, left, row = 700, 250, 22
    height = row * len(values) + BOTTOM + TOP

    def across(value: float) -> float:
        return left + (width - left - 70) * (min(max(value, low), high) - low) / ((high - low) or 1.0)

    parts = [
        _text(across(value), height - BOTTOM + 16, f"{value:.1f}", "middle") for value in dict.fromkeys((low, high))
    ]
    parts.append(_text((left + width - 70) / 2, height - 2, below, "middle"))
    for number, (name, (each, half)) in enumerate(values.items()):
        y, mean = TOP + row * number + row / 2, means[name]
        parts.append(_text(left - 12, y + 4, name, "end"))
        if half is not None:
            bar = Markup('<path class="bar" d="M{:.1f} {:.1f}H{:.1f}"/>')
            parts.append(bar.format(across(mean - half), y, across(mean + half)))
        parts += [Markup('<circle class="seed" cx="{:.1f}" cy="{:.1f}" r="2.5"/>').format(across(x), y) for x in each]
        parts.append(Markup('<circle class="mean" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(across(mean), y))
        parts.append(_text(width - 60, y + 4, f"{mean:.2f}", "start"))
    return _element(title, width, height, parts)


def _element(title: str, width: int, height: int, parts: Sequence[Markup]) -> Markup:
    element = Markup(
        '<svg class="chart" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">{}</svg>'
    )
    return element.format(width, height, width, height, title, Markup().join(parts))


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
