"""PyTorch's thread count, kept as the caller set it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def threads_kept() -> Iterator[None]:
    """Undo what the body does to PyTorch's thread count."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run the body's operations on the calling thread.

    Preparing a batch takes about a millisecond, in several operations. Two threads that share a core with another
    process wait milliseconds for each other in every one of them; one thread never waits.
    """
    with threads_kept():
        torch.set_num_threads(1)
        yield
