"""The folder of the references."""

from __future__ import annotations

import os
from pathlib import Path

import bench

PACKAGED = Path(__file__).parent / "stored"
"""The references in a wheel, see pyproject.toml; a checkout has them in results/reference."""
HERE = Path("results/reference")


def reference_folder() -> Path:
    """The folder that references are written to, and looked up in first.

    ``$BENCH_REFERENCE``; without it ``results/reference`` of the checkout that this package runs from, or, where it is
    installed without a checkout, of the current folder.
    """
    return _folders()[0]


def find(name: str) -> Path | None:
    """A file of references such as ``published.csv``, or None where there is none.

    An installed package looks in the current folder first, then at the references that it brought along.
    """
    return next((path for folder in _folders() if (path := folder / name).is_file()), None)


def measured_suites() -> list[str]:
    """The suites that have measured references."""
    return sorted({path.stem for folder in _folders() for path in (folder / "measured").glob("*.json")})


def _folders() -> list[Path]:
    if override := os.environ.get("BENCH_REFERENCE"):
        return [Path(override)]
    root = Path(bench.__file__).parents[1]
    return [root / HERE] if (root / "pyproject.toml").is_file() else [HERE, PACKAGED]
