"""Published numbers: one value per paper, shown next to ours, never a gate.

A row of published.csv may name the suite that follows its recipe to the letter, and the strategy that it is of. Only
unchanged cells of that suite are then compared with it, in the epoch best on validation data, as such figures are
reported; beside all other cells it stands as the figure of another recipe.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.errors import UserError
from bench.records import Description, Record, StrategyRecord
from bench.reference import folder

OTHER_RECIPE = "other recipe"
SAME_RECIPE = "same recipe, epoch best on validation"


@dataclass(frozen=True)
class Published:
    """A published test accuracy.

    Attributes:
        value: in per cent.
        suite: the suite that follows its recipe; empty if there is none.
        strategy: the strategy that it is of; empty if that is not said.
    """

    value: float
    suite: str = ""
    strategy: str = ""


@dataclass(frozen=True)
class Compared:
    """A published accuracy beside one strategy of one record.

    Attributes:
        value: the published one, in per cent.
        gap: ours less the published one; None if the recipes differ.
        recipe: whether they are the same; empty if that is not known.
    """

    value: float
    gap: float | None
    recipe: str


@cache
def _table(path: Path) -> dict[tuple[str, str, str], Published]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {
                (row["method"], row["variant"], row["dataset"]): Published(
                    float(row["value"]), row.get("suite") or "", row.get("strategy") or ""
                )
                for row in csv.DictReader(file)
                if row["metric"] == "top1"
            }
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not a table of published numbers: {error}") from error


def figure(described: Description | None) -> Published | None:
    """The published test accuracy that a described run is shown with, or None if there is none."""
    path = folder.find("published.csv")
    if path is None or described is None or described.dataset is None:
        return None
    found = (_table(path).get((*row, described.dataset)) for row in described.published)
    return next((value for value in found if value is not None), None)


def compare(record: Record, strategy: StrategyRecord, published: Published | None) -> Compared | None:
    """Put a published accuracy beside one strategy of a record."""
    if published is None:
        return None
    if not published.suite:
        return Compared(published.value, strategy.accuracy - published.value, "")
    same = record.suite == published.suite and not record.overrides
    if not same or published.strategy not in ("", strategy.strategy):
        return Compared(published.value, None, OTHER_RECIPE)
    return Compared(published.value, strategy.accuracy_at_best_validation - published.value, SAME_RECIPE)
