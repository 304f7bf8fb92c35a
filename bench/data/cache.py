"""The folder for downloads and derived files."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """``local-learning-bench`` in ``$BENCH_CACHE``, else in ``$XDG_CACHE_HOME``, else in ``~/.cache``."""
    for variable in ("BENCH_CACHE", "XDG_CACHE_HOME"):
        folder = os.environ.get(variable)
        if folder:
            return Path(folder).expanduser() / "local-learning-bench"
    return Path.home() / ".cache" / "local-learning-bench"
