"""Registered methods, tasks and figures: one by name, or all of an installed package."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path
from typing import Any, Literal

from bench import methods
from bench.data.sets import tasks
from bench.errors import UserError, unknown
from bench.report import figures
from bench.testing.checking import check_figure, check_method, check_task
from bench.testing.outcome import Result

Kind = Literal["method", "task", "figure"]
GROUPS: dict[str, Kind] = {methods.GROUP: "method", tasks.GROUP: "task", figures.GROUP: "figure"}


def find(names: Sequence[str]) -> list[tuple[Kind, str]]:
    """Kind and name of everything that names stand for, each once.

    Raises:
        UserError: if there is nothing of a name, or if a package of that name registers nothing.
    """
    return list(dict.fromkeys(found for name in names for found in _find(name)))


def check(
    kind: Kind, name: str, *, settings: Mapping[str, Any] | None, device: str, data_dir: Path | None
) -> list[Result]:
    """The results of all checks of a method, task or figure."""
    if kind == "method":
        return check_method(name, settings, device)
    return check_task(name, data_dir) if kind == "task" else check_figure(name)


def _find(name: str) -> list[tuple[Kind, str]]:
    known: dict[Kind, list[str]] = {"method": methods.names(), "task": tasks.task_names(), "figure": figures.names()}
    found = [(kind, name) for kind, names in known.items() if name in names]
    try:
        package = distribution(name)
    except (PackageNotFoundError, ValueError):  # no such package, or a name that none can have
        if found:
            return found
        registering = {each.name for each in distributions() if GROUPS.keys() & {e.group for e in each.entry_points}}
        raise unknown("method, task, figure or package", name, registering.union(*known.values())) from None
    registered = [(GROUPS[entry.group], entry.name) for entry in package.entry_points if entry.group in GROUPS]
    misnamed = _misnamed(package)
    if misnamed or not (found or registered):
        raise UserError(misnamed or f"package {name} has no entry point in {', '.join(GROUPS)}")
    return [*found, *registered]


def _misnamed(package: Distribution) -> str:
    """A sentence about the first group of entry points that is almost one of ours; empty if there is none."""
    for entry in package.entry_points:
        close = difflib.get_close_matches(entry.group, GROUPS, n=1, cutoff=0.85)
        if close and entry.group not in GROUPS:
            what = f"{entry.name!r} in the group {entry.group!r}"
            return f"package {package.name} registers {what}, which is none of bench's; {close[0]!r} is"
    return ""
