"""Deterministic algorithms of the device, and the operations that have none."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from typing import Any

import torch

CUBLAS_WORKSPACE = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""Environment of processes that use CUDA: without it, matrix products may differ in the last bits on each run."""
_WARNING = re.compile(r"(\S+) does not have a deterministic implementation|.*[Dd]eterministic.*")


@contextlib.contextmanager
def deterministic(device: torch.device) -> Iterator[list[str]]:
    """Make CUDA use deterministic algorithms; yields the list of operations that ran and have none.

    Nothing changes on a CPU: all its operations are reproducible for the same number of threads.
    """
    found: list[str] = []
    if device.type != "cuda":
        yield found
        return
    shown = warnings.showwarning

    def note(message: Warning | str, *rest: object, **more: object) -> None:
        match = _WARNING.search(str(message))
        if match is None:
            shown(message, *rest, **more)  # type: ignore[arg-type]
        elif (name := match[1] or str(message).splitlines()[0]) not in found:
            found.append(name)

    fills: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fill = fills.fill_uninitialized_memory
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # Unread memory need not be filled: that costs time and changes no result.
    fills.fill_uninitialized_memory = False
    try:
        with warnings.catch_warnings():
            # Shown whatever the user has silenced: an operation missing from the list would pass for deterministic.
            warnings.filterwarnings("always", message=".*deterministic")
            warnings.showwarning = note
            yield found
    finally:
        fills.fill_uninitialized_memory = fill
        torch.use_deterministic_algorithms(mode=before[0], warn_only=before[1])
