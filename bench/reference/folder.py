"""The folder of the references."""

from __future__ import annotations

import os
from pathlib import Path

import bench


def reference_folder() -> Path:
    """``results/reference`` of this package's checkout, or the folder in BENCH_REFERENCE."""
    override = os.environ.get("BENCH_REFERENCE")
    return Path(override) if override else Path(bench.__file__).parents[1] / "results" / "reference"
