"""What goes wrong while data is loaded and is not the user's doing."""

from __future__ import annotations


class LoaderError(RuntimeError):
    """A loader stopped giving batches, or could not start; the cause is chained where it is known."""
