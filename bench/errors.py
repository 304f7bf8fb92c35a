"""Errors that a user can cause, and the exit statuses of the command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit status of the process."""

    OK = 0
    REGRESSION = 1
    BAD_INPUT = 2
    CELL_FAILED = 3
    CHECK_FAILED = 3  # of `bench test`
    NOTHING_MEASURED = 4
    STOPPED = 130  # by a signal, as by Ctrl-C


class Stopped(BaseException):
    """A signal has asked for an end after the current epoch; what was trained is saved."""


class UserError(Exception):
    """Invalid input or settings: one sentence that names the mistake and the valid values."""


def unknown(kind: str, name: str, valid: Iterable[str]) -> UserError:
    """Make the error for a name that is not in a registry; it suggests the closest valid name.

    >>> str(unknown("suite", "smok", ["quick", "smoke"]))
    "unknown suite 'smok': did you mean 'smoke'? (valid: quick, smoke)"
    """
    names = sorted(valid)
    listed = ", ".join(names) or "none"
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return UserError(f"unknown {kind} {name!r}: did you mean {close[0]!r}? (valid: {listed})")
    return UserError(f"unknown {kind} {name!r} (valid: {listed})")


class LoaderError(RuntimeError):
    """A loader stopped giving batches, or could not start; the cause is chained if known."""
