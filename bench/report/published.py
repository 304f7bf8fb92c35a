"""The table of published figures, each beside the closest of our records."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import records
from bench.records import Record
from bench.reference import published
from bench.reference.published import SAME_NETWORK, SAME_RECIPE, Published

COLUMNS = ["method", "data", "published %", "of", "augmentation", "epochs", "epoch chosen", "ours %", "gap", "differs"]
CLOSEST_FIRST = (SAME_RECIPE, SAME_NETWORK, "")


@dataclass
class Ours:
    """Our rows beside a published figure: the seeds of one cell and strategy.

    Attributes:
        same: ``SAME_RECIPE``, ``SAME_NETWORK``, or nothing.
        differs: what differs, in words.
        suite, strategy: where they are from.
        epochs: of their training.
        accuracies: in per cent, one per seed.
        gaps: in points; empty where none is to be given.
    """

    same: str
    differs: list[str]
    suite: str
    strategy: str
    epochs: int
    accuracies: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)

    def closeness(self, figure: Published) -> tuple[int, bool, int, float]:
        """A key by which the closest come first."""
        other = figure.strategy != self.strategy
        return CLOSEST_FIRST.index(self.same), other, -self.epochs, -statistics.fmean(self.accuracies)


def lines(root: Path) -> list[list[str]]:
    """A line per published figure that some record below a folder stands beside, in the order of published.csv.

    Raises:
        UserError: if published.csv or a record cannot be read.
    """
    folders = sorted({file.parents[1] for file in root.glob(f"*/*/{records.RECORD_FILE}")})
    found = [record for folder in folders for record in records.read_all(folder).records if record.status == "ok"]
    beside: dict[tuple[str, str, str, str], list[Record]] = {}
    for record in found:
        figure = published.figure(record.cell.described)
        if figure is not None:
            beside.setdefault(figure.key, []).append(record)
    listed = [figure for figure in published.figures() if figure.key in beside]
    return [_line(figure, _closest(figure, beside[figure.key])) for figure in listed]


def _closest(figure: Published, beside: Sequence[Record]) -> Ours:
    """The rows that are closest to a figure."""
    groups: dict[tuple[str, str, str], Ours] = {}
    for record in beside:
        cell = record.cell
        for strategy in record.strategies:
            compared = published.compare(record, strategy, figure)
            if compared is None:
                continue
            changed = bool(record.overrides)
            same = published.what_is_same(cell, record.suite, strategy.strategy, figure, changed=changed)
            differs = published.differences(cell, record.suite, strategy.strategy, figure, changed=changed)
            fresh = Ours(same, differs, record.suite, strategy.strategy, cell.epochs)
            ours = groups.setdefault((record.suite, cell.experiment, strategy.strategy), fresh)
            recipe = same == SAME_RECIPE
            ours.accuracies.append(strategy.accuracy_at_best_validation if recipe else strategy.accuracy)
            ours.gaps += [] if compared.gap is None else [compared.gap]
    return min(groups.values(), key=lambda ours: ours.closeness(figure))


def _line(figure: Published, ours: Ours) -> list[str]:
    augmentation = "?" if figure.augmentation is None else " ".join(figure.augmentation) or "none"
    seeds = f", {len(ours.accuracies)} seeds" if len(ours.accuracies) > 1 else ""
    return [
        figure.method,
        figure.dataset,
        f"{figure.value:.2f}",
        figure.of,
        augmentation,
        "?" if figure.epochs is None else str(figure.epochs),
        figure.selection or "?",
        f"{statistics.fmean(ours.accuracies):.2f} ({ours.suite}, {ours.strategy}{seeds})",
        f"{statistics.fmean(ours.gaps):+.2f}" if ours.gaps else "-",
        "; ".join(ours.differs) or "same",
    ]
