"""A check and its result: passed, failed, or skipped because a method lacks the optional part in question."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from bench.errors import UserError

Status = Literal["passed", "failed", "skipped"]


class CheckFailed(AssertionError):  # noqa: N818 -- a verdict: the program is well
    """A part of the contract is broken: one sentence that says what was expected and what was found."""


class NotOffered(Exception):  # noqa: N818 -- nothing is wrong
    """A check does not apply, because an optional part is missing; the message says which."""


class Subject(Protocol):
    """The subject of a check."""

    @property
    def variant(self) -> str:
        """Tells it from others of the same name; empty where there is one."""

    def surroundings(self) -> AbstractContextManager[Any]:
        """What has to hold while a check runs."""


S = TypeVar("S", bound=Subject)


@dataclass(frozen=True)
class Result:
    """The result of a check.

    Attributes:
        check: the check's name.
        status: skipped where an optional part is not offered.
        reason: why it failed or was skipped; empty if it passed.
        variant: the settings of the method that was checked; empty for its defaults, and for tasks and figures.
    """

    check: str
    status: Status
    reason: str = ""
    variant: str = ""


@dataclass(frozen=True)
class Check(Generic[S]):
    """A statement that has to hold; calling it does nothing if it holds.

    Attributes:
        function: raises ``CheckFailed`` or ``NotOffered``; its name and docstring are the check's.
        first: whether the checks after it make no sense if it fails.
    """

    function: Callable[[S], None]
    first: bool = False

    @property
    def name(self) -> str:
        """Such as ``same-seed-same-bits``."""
        return self.function.__name__.replace("_", "-")

    @property
    def says(self) -> str:
        """The statement: the first line of the docstring."""
        return (self.function.__doc__ or self.name).splitlines()[0]

    def __call__(self, subject: S) -> None:
        """Check a subject.

        Raises:
            CheckFailed: if the statement does not hold.
            NotOffered: if the subject lacks the optional part that it is about.
        """
        with subject.surroundings():
            self.function(subject)

    def result(self, subject: S) -> Result:
        """The result of checking a subject, whatever it raises."""
        try:
            self(subject)
        except NotOffered as missing:
            return Result(self.name, "skipped", str(missing), subject.variant)
        except (CheckFailed, UserError) as failure:
            return Result(self.name, "failed", str(failure), subject.variant)
        except Exception as error:  # noqa: BLE001 -- a plug-in may fail in any way
            return Result(self.name, "failed", _raised(error), subject.variant)
        return Result(self.name, "passed", variant=subject.variant)


def results(checks: Iterable[Check[S]], subject: S) -> list[Result]:
    """The results of all checks; after a failed ``first`` one, the others are skipped."""
    found: list[Result] = []
    broken = ""
    for check in checks:
        if broken:
            found.append(Result(check.name, "skipped", f"{broken} failed", subject.variant))
            continue
        found.append(check.result(subject))
        if check.first and found[-1].status == "failed":
            broken = check.name
    return found


def require(holds: object, expected: str, found: object) -> None:
    """Raise ``CheckFailed`` unless something holds."""
    if not holds:
        raise CheckFailed(f"expected {expected}, found {found}")


def require_equal(expected: Tensor, found: Tensor, what: str) -> None:
    """Raise ``CheckFailed`` unless two tensors are equal to the bit."""
    if expected.shape != found.shape:
        raise CheckFailed(f"expected {what}, found shapes {tuple(expected.shape)} and {tuple(found.shape)}")
    if not torch.equal(expected, found):
        differing = int((expected != found).sum())
        raise CheckFailed(f"expected {what}, found {differing} of {expected.numel()} numbers that differ")


def _raised(error: Exception) -> str:
    """An exception in one line, with the place that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())
    kind = type(error).__name__
    return f"{kind}{': ' if text else ''}{text} ({Path(last.filename).name}, line {last.lineno})"
