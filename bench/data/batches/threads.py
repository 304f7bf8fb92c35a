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
    """Run the body's operations on the calling thread, where they are many and each is short."""
    with threads_kept():
        torch.set_num_threads(1)
        yield
