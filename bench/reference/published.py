"""Published numbers: one value per paper, shown next to ours, never a gate.

A row of published.csv says what its figure is of. Ours is compared with it, as a gap, in two cases only:

* in the epoch best on validation data, for unchanged cells of the suite that follows its recipe to the letter;
* in the last epoch, for cells with its network, strategy and augmentation, where it says all three.

Beside all other cells, the figure stands with the words of what it is of.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.records import CellSpec, Description, Record, StrategyRecord
from bench.reference import folder

SAME_RECIPE = "same recipe, epoch best on validation"
SAME_NETWORK = "same network"
NONE = "-"
"""Stands for no augmentation, in the column of that name."""


@dataclass(frozen=True)
class Published:
    """A published figure: a row of published.csv.

    Attributes:
        method, variant, dataset: by which it is found.
        metric: "top1", "top5", ...
        value, deviation: in per cent; the deviation between seeds, None if it is not said.
        of: the network and strategy that it is of, in words.
        suite: the suite that follows its recipe; empty if there is none.
        strategy: empty if it is not known.
        augmentation: names; None if they are not known.
        network: settings that make a network the same; None if they are not known.
        epochs: of training; None if it is not known.
        selection: the epoch that it is of: "last", "best on validation" or "best on test"; empty if it is not known.
        source, kind: where it stands, and whether that is the paper or its code ("primary") or another ("secondary").
    """

    method: str
    variant: str
    dataset: str
    metric: str
    value: float
    deviation: float | None = None
    of: str = ""
    suite: str = ""
    strategy: str = ""
    augmentation: tuple[str, ...] | None = None
    network: Mapping[str, Any] | None = None
    source: str = ""
    kind: str = ""
    epochs: int | None = None
    selection: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Its names."""
        return self.method, self.variant, self.dataset, self.metric


@dataclass(frozen=True)
class Compared:
    """A published accuracy beside one strategy of one record.

    Attributes:
        value: the published one, in per cent.
        gap: ours less the published one; None if it is of something else.
        recipe: what is the same, or what it is of.
    """

    value: float
    gap: float | None
    recipe: str


@cache
def _rows(path: Path) -> Sequence[Published]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [_row(row) for row in csv.DictReader(file)]
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is not a table of published numbers: {error}") from error


def _row(row: Mapping[str, str]) -> Published:
    augmentation, network = row.get("augmentation") or "", row.get("network") or ""
    return Published(
        method=row["method"],
        variant=row["variant"],
        dataset=row["dataset"],
        metric=row["metric"],
        value=float(row["value"]),
        deviation=float(row["std"]) if row.get("std") else None,
        of=row.get("of") or row["variant"],
        suite=row.get("suite") or "",
        strategy=row.get("strategy") or "",
        augmentation=(() if augmentation == NONE else tuple(augmentation.split())) if augmentation else None,
        network=dict(json.loads(network)) if network else None,
        source=row.get("source") or "",
        kind=row.get("kind") or "",
        epochs=int(row["epochs"]) if row.get("epochs") else None,
        selection=row.get("selection") or "",
    )


def figures() -> Sequence[Published]:
    """All rows of published.csv, in its order; none where there is no such file.

    Raises:
        UserError: if it is not such a table.
    """
    path = folder.find("published.csv")
    return () if path is None else _rows(path)


def figure(described: Description | None) -> Published | None:
    """The published test accuracy that a described run is shown with, or None if there is none."""
    if described is None or described.dataset is None:
        return None
    by_name = {(row.method, row.variant): row for row in _of_dataset(described.dataset)}
    found = (by_name.get((method, variant)) for method, variant in described.published)
    return next((value for value in found if value is not None), None)


def _of_dataset(dataset: str) -> list[Published]:
    return [row for row in figures() if row.dataset == dataset and row.metric == "top1"]


def compare(record: Record, strategy: StrategyRecord, published: Published | None) -> Compared | None:
    """Put a published accuracy beside one strategy of a record."""
    if published is None:
        return None
    same = what_is_same(record.cell, record.suite, strategy.strategy, published, changed=bool(record.overrides))
    if same == SAME_RECIPE:
        return Compared(published.value, strategy.accuracy_at_best_validation - published.value, same)
    if same == SAME_NETWORK:
        return Compared(published.value, strategy.accuracy - published.value, same)
    return Compared(published.value, None, f"of {published.of}")


def what_is_same(cell: CellSpec, suite: str, strategy: str, published: Published, *, changed: bool = False) -> str:
    """``SAME_RECIPE``, ``SAME_NETWORK``, or nothing.

    Args:
        cell: ours, described.
        suite: that it is of.
        strategy: ours.
        published: the figure beside it.
        changed: whether the command line has changed cells of the suite.
    """
    if published.suite:
        same = suite == published.suite and not changed and published.strategy in ("", strategy)
        return SAME_RECIPE if same else ""
    settings = cell.described.settings if cell.described is not None else {}
    known = published.network is not None and published.augmentation is not None and published.strategy
    if not known or published.strategy != strategy or set(published.augmentation or ()) != set(cell.augmentation):
        return ""
    return SAME_NETWORK if _has_network(settings, published) else ""


def differences(cell: CellSpec, suite: str, strategy: str, published: Published, *, changed: bool = False) -> list[str]:
    """What differs between a published figure and our row, in words; what is not known of the figure counts.

    Arguments as of ``what_is_same``.
    """
    if what_is_same(cell, suite, strategy, published, changed=changed) == SAME_RECIPE:
        return []
    settings = cell.described.settings if cell.described is not None else {}
    found = []
    if published.network is None:
        found.append("network (not known)")
    elif not _has_network(settings, published):
        found.append("network")
    if published.strategy != strategy:
        found.append(f"strategy {strategy}" + ("" if published.strategy else " (theirs is not known)"))
    ours = " ".join(cell.augmentation) or "none"
    if published.augmentation is None:
        found.append("augmentation (not known)")
    elif set(published.augmentation) != set(cell.augmentation):
        found.append(f"augmentation {ours}")
    if published.epochs != cell.epochs:
        found.append(f"{cell.epochs} epochs")
    if cell.train_samples is not None:
        found.append(f"{cell.train_samples:,} images")
    if published.selection != "last":
        found.append("last epoch")
    if published.suite:
        found.append("recipe")
    return found


def _has_network(settings: Mapping[str, Any], published: Published) -> bool:
    """Whether settings make the network of a published figure, as far as it is known."""
    return all(_plain(settings.get(key)) == value for key, value in (published.network or {}).items())


def _plain(value: Any) -> Any:
    """A setting as JSON has it: tuples as lists."""
    return list(value) if isinstance(value, tuple) else value
