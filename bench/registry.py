"""Finds methods and tasks through Python entry points, including this project's own."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from bench.errors import UserError, unknown


@cache
def _entries(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def names(group: str) -> list[str]:
    """The names registered in an entry-point group, sorted."""
    return sorted(_entries(group))


def entry(group: str, name: str) -> EntryPoint | None:
    """Where the object registered as ``name`` is; None if nothing has that name."""
    return _entries(group).get(name)


def load(group: str, kind: str, name: str) -> Any:
    """The object registered as ``name``.

    Raises:
        UserError: if nothing has that name, or the object cannot be imported.
    """
    entries = _entries(group)
    if name not in entries:
        raise unknown(kind, name, entries)
    entry = entries[name]
    try:
        return entry.load()
    except Exception as error:  # a plug-in may fail in any way while it is imported
        cause = f"{type(error).__name__}: {error}"
        raise UserError(
            f"{kind} {name!r} is registered as {entry.value!r}, which cannot be imported: {cause}"
        ) from error
