"""Where references are kept."""

from __future__ import annotations

import os
from pathlib import Path

import bench


def reference_folder() -> Path:
    """``results/reference`` of the checkout this package runs from, or the folder that BENCH_REFERENCE names."""
    override = os.environ.get("BENCH_REFERENCE")
    return Path(override) if override else Path(bench.__file__).parents[1] / "results" / "reference"
