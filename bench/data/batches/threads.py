"""Context managers for PyTorch's thread count."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def threads_kept() -> Iterator[None]:
    """Restore PyTorch's thread count after the body."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run the body's operations on the calling thread: faster where they are many and short."""
    with threads_kept():
        torch.set_num_threads(1)
        yield
