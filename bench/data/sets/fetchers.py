"""Fetchers: ways to get a data set's files onto this machine."""

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
    """This fetcher failed; another one may succeed."""


class Fetcher(Protocol):
    """A way to get a data set's files.

    Attributes:
        name: as in messages.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 -- described by the class

    def __call__(self, destination: Path) -> None:
        """Put the files into an empty folder, in torchvision's layout; the caller checks them.

        Raises:
            FetchError: with the reason, if it fails.
        """
        ...


@contextlib.contextmanager
def _quiet_and_bounded() -> Iterator[None]:
    """Without progress bars, and with a timeout for networks that do not answer."""
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
    """Downloads with ``torchvision.datasets``.

    Attributes:
        dataset: name of a class there that takes ``root`` and ``download``.
    """

    dataset: str

    @property
    def name(self) -> str:
        """Name in messages."""
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
