"""Ways to get the files of a data set that is not on this machine yet."""

from __future__ import annotations

import contextlib
import io
import socket
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_CONNECT_TIMEOUT_S = 30.0


class FetchError(Exception):
    """This way did not work; another one may."""


class Fetcher(Protocol):
    """One way to get the files of a data set.

    Attributes:
        name: what a message calls it.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 -- described by the class

    def __call__(self, destination: Path) -> None:
        """Put the files into an empty folder, in torchvision's layout; the caller checks them.

        Raises:
            FetchError: if it cannot be done, with the reason.
        """
        ...


@contextlib.contextmanager
def _quiet_and_bounded() -> Iterator[None]:
    """Without progress bars, and without waiting for ever for a network that does not answer."""
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_CONNECT_TIMEOUT_S)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        socket.setdefaulttimeout(previous)


@dataclass(frozen=True)
class Torchvision:
    """Downloads as ``torchvision.datasets`` does.

    Attributes:
        dataset: the name of a class there that takes ``root`` and ``download``.
    """

    dataset: str

    @property
    def name(self) -> str:
        """What a message calls it."""
        return f"torchvision.datasets.{self.dataset}"

    def __call__(self, destination: Path) -> None:
        """Download and unpack into ``destination``."""
        import torchvision

        try:
            with _quiet_and_bounded():
                getattr(torchvision.datasets, self.dataset)(destination, download=True)
        # RuntimeError: all mirrors failed, or a corrupt archive; EOFError: an archive that ends too early.
        except (OSError, RuntimeError, EOFError) as error:
            reason = str(error).strip().splitlines()
            raise FetchError(reason[0] if reason else type(error).__name__) from error
