"""Names of the required and optional parts of methods, learners and tasks, and the search for misspelt ones."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from bench.data.sets.tasks import Task
from bench.methods import (
    Beginner,
    ChoosesLayer,
    Compilable,
    Conditional,
    Examinable,
    Goodness,
    Inspectable,
    Learner,
    Method,
    Observable,
    PerLayer,
)
from bench.testing.outcome import CheckFailed

CLOSE = 0.8
"""Similarity, by ``difflib``, from which a name counts as misspelt."""


def _parts(protocol: type) -> dict[str, str]:
    """The public members of a protocol, with the first line of each docstring."""
    names = [name for name in (*vars(protocol), *inspect.get_annotations(protocol)) if not name.startswith("_")]
    return {name: (inspect.getdoc(getattr(protocol, name, None)) or "").partition("\n")[0] for name in names}


METHOD_NEEDS = _parts(Method)
METHOD_MAY_OFFER = ("strategies_of", "published", "between", "optimiser", "family", "small")
LEARNER_NEEDS = _parts(Learner)
_LEARNER_PROTOCOLS = (
    PerLayer, Observable, Goodness, Examinable, ChoosesLayer, Inspectable, Conditional, Beginner, Compilable,
)  # fmt: skip
LEARNER_MAY_OFFER = (*(name for protocol in _LEARNER_PROTOCOLS for name in _parts(protocol)), "way_back")
TASK_NEEDS = {field.name: "" for field in dataclasses.fields(Task) if field.default is dataclasses.MISSING}
TASK_MAY_OFFER = tuple(field.name for field in dataclasses.fields(Task) if field.name not in TASK_NEEDS)


def require_parts(thing: Any, kind: str, needs: Mapping[str, str]) -> None:
    """Raise ``CheckFailed`` if required parts are missing.

    Args:
        thing: a method, learner or task.
        kind: what it is, a name in ``bench.plugins``.
        needs: the parts, with what the contract says of each.
    """
    near = {hook: name for name, hook in _near(thing, needs).items()}
    missing = [
        f"the {kind.lower()} has no {name!r}{f' but {near[name]!r}' if name in near else ''}, "
        + (f"of which bench.plugins.{kind} says: {says}" if says else f"which bench.plugins.{kind} needs")
        for name, says in needs.items()
        if not hasattr(thing, name)
    ]
    if missing:
        raise CheckFailed("; ".join(missing))


def require_no_near_miss(thing: Any, hooks: Iterable[str]) -> None:
    """Raise ``CheckFailed`` for public names that resemble a hook which the object lacks."""
    near = _near(thing, hooks)
    if near:
        raise CheckFailed("; ".join(f"{name!r} is no hook; {hook!r} is" for name, hook in sorted(near.items())))


def _near(thing: Any, hooks: Iterable[str]) -> dict[str, str]:
    """Public names of an object that resemble a hook which it lacks, with that hook."""
    wanted = [hook for hook in hooks if not hasattr(thing, hook)]
    ignored = {*dir(nn.Module), *METHOD_NEEDS, *METHOD_MAY_OFFER, *LEARNER_NEEDS, *LEARNER_MAY_OFFER}
    found = {}
    for name in dir(thing):
        if not name.startswith("_") and name not in ignored:
            close = difflib.get_close_matches(name.lower(), wanted, n=1, cutoff=CLOSE)
            close = close or [hook for hook in wanted if hook.lower() == name.lower()]
            if close:
                found[name] = close[0]
    return found
