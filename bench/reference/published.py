"""Published numbers: one value per paper, shown with the gap to ours, never a gate."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

from bench.errors import UserError
from bench.records import Description
from bench.reference import folder


@cache
def _table(path: Path) -> dict[tuple[str, str, str], float]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {
                (row["method"], row["variant"], row["dataset"]): float(row["value"])
                for row in csv.DictReader(file)
                if row["metric"] == "top1"
            }
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not a table of published numbers: {error}") from error


def accuracy(described: Description | None) -> float | None:
    """The published test accuracy (per cent) that a described run is compared with, or None if there is none."""
    path = folder.find("published.csv")
    if path is None or described is None or described.dataset is None:
        return None
    found = (_table(path).get((*row, described.dataset)) for row in described.published)
    return next((value for value in found if value is not None), None)
