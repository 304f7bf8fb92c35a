"""What a page is made of: folders of runs, and what only live code can say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import records
from bench.errors import UserError
from bench.records import Found
from bench.reference.verdicts import Check


@dataclass(frozen=True)
class About:
    """A method, as the code that is here describes it.

    Attributes:
        sentence: what it is, with its source.
        defaults: its settings, in full.
    """

    sentence: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """Runs that a page shows.

    Attributes:
        name: of their folder, or of the suite that was run.
        found: records, and cells without one.
        checks: verdicts against the references of their suite; empty if they were not checked.
        unchecked: why they were not, in words.
        methods: what is known of them; a method that is not installed is left out.
        drawn: figures that were drawn before, see ``drawings.drawn``; None to draw them.
    """

    name: str
    found: Found
    checks: Sequence[Check] = ()
    unchecked: str = ""
    methods: Mapping[str, About] = field(default_factory=dict)
    drawn: Mapping[str, str] | None = None


def read(folder: Path) -> Source:
    """A folder of runs, as its records alone describe it.

    Raises:
        UserError: if the folder does not exist, or has no record.
    """
    found = records.read_all(folder)
    if not found.records:
        raise UserError(f"nothing was measured in {folder}")
    return Source(folder.resolve().name, found)
