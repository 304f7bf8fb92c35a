"""Published numbers: one value per paper, shown with the gap to ours, never a gate."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bench import methods
from bench.data.sets import tasks
from bench.errors import UserError
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


def accuracy(method: str, settings: Mapping[str, Any], task: str) -> float | None:
    """The published test accuracy (per cent) of a method on a task, or None if there is none to compare with."""
    try:
        rows = methods.published_rows(method, settings)
        title = tasks.get_task(task).title
    except UserError:
        return None
    path = folder.find("published.csv")
    if path is None:
        return None
    found = (_table(path).get((*row, title)) for row in rows)
    return next((value for value in found if value is not None), None)
