"""The source files that a cell's computation imports, and their fingerprint: a record is of other code if it differs.

    method, yardstick, start, task     found through their entry points, of whichever distribution
    training and measuring             ``TRAINS``

Imports are read from the sources, and nothing is imported. They are followed within the packages of these entry points
and this project, and into single files outside every installation; not into libraries. A name imported from a package
leads to the module that the package takes it from, not to all of the package. What only carries values is left out,
and so are comments, docstrings and blank lines: a change to them changes no number.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from bench import registry
from bench.records.cells import CellSpec
from bench.records.record import Record

TRAINS = ("bench.running.cell",)
"""Where the computation begins: training, evaluation and measurements."""
CARRIES = (
    "bench.errors",
    "bench.inputs",
    "bench.measure.environment",
    "bench.methods",
    "bench.options",
    "bench.records",
    "bench.registry",
    "bench.suites",
)
"""Packages that carry values from options to the computation and into the record; the record itself shows them."""
OF_LOADERS = {"ffcv": ("bench.data.ffcv",), "torch": ("bench.data.batches.torch_loader",)}
"""Packages of loaders, which a cell with another loader does not run."""
PROJECT = ("asge", "baselines", "bench")
"""The packages of this project."""


class Import(NamedTuple):
    """One imported name: a module, or ``name`` from it."""

    module: str
    name: str | None


class Source(NamedTuple):
    """A module's file without what changes no number, its imports, and where the names come from that it imports."""

    text: bytes
    imports: tuple[Import, ...]
    origins: dict[str, Import]


def computation(cell: CellSpec) -> str | None:
    """Fingerprint of the sources that a cell's computation imports; None if its method or task is not installed."""
    methods = {cell.method, *(part.method for part in (cell.yardstick, cell.start) if part is not None)}
    return _fingerprint(tuple(sorted(methods)), cell.task, cell.loader)


def is_current(record: Record) -> bool | None:
    """Whether the code that made a record is the code that is here; None if its method or task is not installed."""
    here = computation(record.cell)
    return None if here is None else record.code.computation == here


@cache
def _fingerprint(methods: Sequence[str], task: str, loader: str) -> str | None:
    entries = [registry.entry("bench.methods", name) for name in methods] + [registry.entry("bench.tasks", task)]
    known = [entry for entry in entries if entry is not None]
    if len(known) < len(entries):
        return None
    others = [package for kind, packages in OF_LOADERS.items() if kind != loader for package in packages]
    digest = hashlib.sha256()
    for line in sorted(_distributions(known)):
        digest.update(f"{line}\0".encode())
    packages = {*PROJECT, *(_top(entry.module) for entry in known)}
    for name in modules([*TRAINS, *(entry.module for entry in known)], packages, without=[*CARRIES, *others]):
        digest.update(f"{name}\0".encode())
        digest.update(_source(name).text)
    return digest.hexdigest()[:16]


def _distributions(entries: Iterable[EntryPoint]) -> Iterator[str]:
    """Name and version of the distributions of others."""
    for entry in entries:
        if _top(entry.module) not in PROJECT and entry.dist is not None:
            yield f"{entry.dist.name} {entry.dist.version}"


def modules(begin: Iterable[str], packages: Iterable[str] = PROJECT, *, without: Sequence[str] = CARRIES) -> list[str]:
    """The modules that some modules import, directly or not, with these, sorted.

    Args:
        begin: where to begin.
        packages: top-level packages whose imports are followed.
        without: packages that are left out.
    """
    within = frozenset(packages)
    found: dict[str, None] = {}
    waiting = [Import(name, None) for name in begin]
    while waiting:
        name = _leads_to(waiting.pop(), within, without)
        if name is not None and name not in found:
            found[name] = None
            waiting += _source(name).imports
    return sorted(found)


def _leads_to(each: Import, packages: frozenset[str], without: Sequence[str]) -> str | None:
    """The module that an import needs; None if it is a library's or is left out."""
    if not _followed(_top(each.module), packages):
        return None
    if each.name is not None and _file(f"{each.module}.{each.name}") is not None:
        each = Import(f"{each.module}.{each.name}", None)
    if any(each.module == name or each.module.startswith(f"{name}.") for name in without):
        return None
    if _file(each.module) is None:
        return None
    origin = _source(each.module).origins.get(each.name or "")
    return each.module if origin is None else _leads_to(origin, packages, without)


def _top(module: str) -> str:
    return module.partition(".")[0]


@cache
def _followed(top: str, packages: frozenset[str]) -> bool:
    if top in packages:
        return True
    if top in sys.stdlib_module_names:
        return False
    place = _place(top)
    return place is not None and not {"site-packages", "dist-packages"} & set(place.parts)


@cache
def _place(top: str) -> Path | None:
    """The folder of a top-level package, or the file of a single module, without importing it."""
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None


@cache
def _file(module: str) -> Path | None:
    top, *rest = module.split(".")
    place = _place(top)
    if place is None or (place.is_file() and rest):
        return None
    if place.is_file():
        return place
    path = place.joinpath(*rest)
    files = (path / "__init__.py", *([path.with_name(f"{path.name}.py")] if rest else []))
    return next((file for file in files if file.is_file()), None)


@cache
def _source(module: str) -> Source:
    file = _file(module)
    assert file is not None  # noqa: S101 -- only modules with a file are asked for
    raw = file.read_bytes()
    try:
        tree = ast.parse(raw)
    except (SyntaxError, ValueError):  # importing it will say what is wrong
        return Source(raw, (), {})
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    imports: list[Import] = []
    origins: dict[str, Import] = {}
    for statement in _statements(tree):
        for alias, each in _imported(statement, package):
            imports.append(each)
            if each.name is not None:
                origins[alias] = each
    return Source(_without_words(raw, tree), tuple(imports), origins)


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """All statements that may run, at any depth; those for type checkers only do not."""
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(node, part, ()):
            if isinstance(inner, ast.If) and "TYPE_CHECKING" in ast.unparse(inner.test):
                continue
            if isinstance(inner, ast.stmt):
                yield inner
            yield from _statements(inner)


def _imported(statement: ast.stmt, package: str) -> Iterator[tuple[str, Import]]:
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            yield alias.asname or alias.name, Import(alias.name, None)
    elif isinstance(statement, ast.ImportFrom):
        parents = package.split(".")[: len(package.split(".")) - statement.level + 1] if statement.level else []
        module = ".".join([*parents, *([statement.module] if statement.module else [])])
        for alias in statement.names:
            yield alias.asname or alias.name, Import(module, None if alias.name == "*" else alias.name)


def _without_words(raw: bytes, tree: ast.Module) -> bytes:
    """A source without docstrings, lines of comment and blank lines; other strings stay whole."""
    words: set[int] = set()
    strings: set[int] = set()
    for node in [tree, *_statements(tree)]:
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                words.update(range(statement.lineno, (statement.end_lineno or statement.lineno) + 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.end_lineno != node.lineno:
            strings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    kept = [
        line.rstrip()
        for number, line in enumerate(raw.splitlines(), start=1)
        if number not in words and (number in strings or (line.strip() and not line.lstrip().startswith(b"#")))
    ]
    return b"\n".join(kept)
