"""Figures of a page, as SVG that stands in the page itself."""

from __future__ import annotations

import io
import re
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
_USES = re.compile(r"(?:^|url\()#([^)]+)")
"""What refers to an id: a whole value, or an address within one."""
_LONG = re.compile(r"-?\d+\.\d{3,}")
_NOTHING = re.compile(r"rotate\(-0 [^)]*\)")
_FONTS = re.compile(r"font-family: [^;]*;? ?")


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


class Styles:
    """The styles of all figures of a page, each once: a class stands for it where it is used."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name(self, style: str) -> str:
        """The class of a style."""
        return self._names.setdefault(style, f"k{len(self._names)}")

    def __str__(self) -> str:
        """As a style sheet."""
        return "\n".join(f".{name} {{ {style} }}" for style, name in self._names.items())


def linked(
    number: int, task: str, files: Mapping[str, str], cells: Mapping[str, tuple[str, str]], styles: Styles
) -> list[Drawing]:
    """The figures of a section.

    Args:
        number: of the section in its page.
        task: the section's.
        files: see ``drawn``.
        cells: anchor and title of each cell, by its id: what shows one cell becomes a link to it.
        styles: of the page, which gets those of the figures.
    """
    names = [f"{task}-{name}" for name in figures.names()]
    there = [name for name in names if name in files]
    return [
        Drawing(name, _element(files[name], name, f"s{number}f{place}-", cells, styles))
        for place, name in enumerate(there)
    ]


def _element(file: str, name: str, prefix: str, cells: Mapping[str, tuple[str, str]], styles: Styles) -> str:
    """A figure's SVG element, as small as it can be with the same picture.

    Args:
        file: the text of an SVG file.
        name: of the figure.
        prefix: of ids, which may stand in a page once.
        cells: see ``linked``.
        styles: see ``linked``.
    """
    root = ET.fromstring(file)  # noqa: S314 -- Matplotlib wrote it a moment ago
    used = {found for element in root.iter() for value in element.attrib.values() for found in _USES.findall(value)}
    ids = {old: f"{prefix}{number}" for number, old in enumerate(sorted(used))}
    for element in root.iter():
        cell = element.get("id", "").removeprefix(CELL).partition(":")[0] if _shows_cell(element) else ""
        element.attrib = {_plain(key): _small(value, ids) for key, value in _kept(element, ids)}
        if style := element.attrib.pop("style", ""):
            element.set("class", styles.name(style))
        if cell in cells:
            _link(element, *cells[cell])
        element.tag = _plain(element.tag)
        for part in ("text", "tail"):
            if not (getattr(element, part) or "").strip():
                setattr(element, part, None)
    _unwrap(root)
    root.attrib |= {"role": "group", "aria-label": name.replace("-", " "), "xmlns": _SVG}
    return ET.tostring(root, encoding="unicode")


def _shows_cell(element: ET.Element) -> bool:
    return element.get("id", "").startswith(CELL)


def _kept(element: ET.Element, ids: Mapping[str, str]) -> list[tuple[str, str]]:
    """Attributes without ids that nothing refers to, and without turns by nothing."""
    every = element.attrib.items()
    return [(key, value) for key, value in every if (key != "id" or value in ids) and not _NOTHING.fullmatch(value)]


def _plain(name: str) -> str:
    """A name without its namespace: pages of today need none."""
    return name.rpartition("}")[2]


def _small(value: str, ids: Mapping[str, str]) -> str:
    """A value with new ids, coordinates to a hundredth of a point, and without the list of fonts: the page has one."""
    value = _NOTHING.sub("", ids.get(value, value))
    value = _USES.sub(lambda found: found[0].replace(found[1], ids[found[1]]), value)
    value = _FONTS.sub("", _LONG.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value))
    return " ".join(value.split())


def _link(element: ET.Element, anchor: str, title: str) -> None:
    """Make a group a link. The keyboard gets there by the table's links: a figure may have hundreds."""
    element.tag = "a"
    element.attrib = {"href": f"#{anchor}", "class": "dot", "tabindex": "-1"}
    label = ET.Element("title")
    label.text = title
    element.insert(0, label)


def _unwrap(parent: ET.Element) -> None:
    """Replace groups that say nothing by what is in them, and leave out metadata."""
    children: list[ET.Element] = []
    for child in parent:
        _unwrap(child)
        if child.tag == "g" and not child.attrib:
            children += child
        elif child.tag != "metadata":
            children.append(child)
    parent[:] = children
