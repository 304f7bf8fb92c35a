"""Errors while loading data that are not the user's fault."""

from __future__ import annotations


class LoaderError(RuntimeError):
    """A loader stopped giving batches or could not start; the cause is chained if known."""
