"""Numbers that the user sets in environment variables."""

from __future__ import annotations

import os

from bench.errors import UserError


def count(name: str) -> int | None:
    """A number from 1 in the environment variable ``name``; None where it is not set.

    Raises:
        UserError: if it says anything else.
    """
    text = os.environ.get(name)
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"{name} is {text!r}, but must be a number from 1")
    return int(text)
