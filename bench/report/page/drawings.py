"""Figures of a page, as SVG that stands in the page itself."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from bench.records import Record
from bench.report import figures
from bench.report.figures.drawing import CELL

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_HREF = f"{{{_XLINK}}}href"


@dataclass(frozen=True)
class Drawing:
    """A figure: its name, and the text of its SVG element."""

    name: str
    svg: str


def drawn(records: Sequence[Record]) -> dict[str, str]:
    """The figures that records have data for, as SVG files, by name."""
    made = {}
    for name, figure in figures.drawn(records):
        made[name] = svg(name, figure)
        plt.close(figure)
    return made


def svg(name: str, figure: Figure) -> str:
    """The text of an SVG file; letters stay letters, so that it is small and can be searched."""
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        file = io.StringIO()
        figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    return file.getvalue()


def linked(prefix: str, task: str, files: Mapping[str, str], cells: Mapping[str, tuple[str, str]]) -> list[Drawing]:
    """The figures of a section.

    Args:
        prefix: the section's name; with it, an id in a figure is one of the page.
        task: the section's.
        files: see ``drawn``.
        cells: anchor and title of each cell, by its id: what shows one cell becomes a link to it.
    """
    names = [f"{task}-{name}" for name in figures.names()]
    return [Drawing(name, _element(files[name], f"{prefix}.{name}", cells)) for name in names if name in files]


def _element(file: str, prefix: str, cells: Mapping[str, tuple[str, str]]) -> str:
    root = ET.fromstring(file)  # noqa: S314 -- Matplotlib wrote it a moment ago
    for parent in root.iter():
        for child in list(parent):
            if child.tag == f"{{{_SVG}}}metadata":
                parent.remove(child)
    for element in root.iter():
        cell = element.get("id", "").removeprefix(CELL).partition(":")[0] if _shows_cell(element) else ""
        if cell in cells:
            _link(element, *cells[cell])
        _rename(element, prefix)
    root.set("role", "group")
    root.set("aria-label", prefix.rpartition(".")[2].replace("-", " "))
    return _text(root)


def _shows_cell(element: ET.Element) -> bool:
    return element.get("id", "").startswith(CELL)


def _link(element: ET.Element, anchor: str, title: str) -> None:
    """Make a group a link. The keyboard gets there by the table's links: a figure may have hundreds."""
    element.tag = f"{{{_SVG}}}a"
    element.attrib = {"href": f"#{anchor}", "class": "dot", "tabindex": "-1"}
    label = ET.Element(f"{{{_SVG}}}title")
    label.text = title
    element.insert(0, label)


def _rename(element: ET.Element, prefix: str) -> None:
    """Give an id the prefix, where it is and where it is referred to: an id may stand in a page once."""
    if "id" in element.attrib:
        element.set("id", f"{prefix}.{element.get('id')}")
    if element.get(_HREF, "").startswith("#"):
        # Without the namespace: pages of today need none, and it halves the size of figures of many dots.
        element.set("href", f"#{prefix}.{element.attrib.pop(_HREF)[1:]}")
    for key, value in element.attrib.items():
        if "url(#" in value:
            element.set(key, value.replace("url(#", f"url(#{prefix}."))


def _text(root: ET.Element) -> str:
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
    root.set("xmlns", _SVG)
    return ET.tostring(root, encoding="unicode")
