"""Which suites have a cell beside each published figure, and why some figures have none."""

from __future__ import annotations

from dataclasses import dataclass

from bench import suites
from bench.data.sets import tasks
from bench.reference import published
from bench.reference.published import SAME_NETWORK, SAME_RECIPE, Published

OF_ANOTHER = "another network, read-out or augmentation"
CLOSEST_FIRST = (SAME_RECIPE, SAME_NETWORK, OF_ANOTHER)
ONE_SEED = suites.Overrides(seeds=1, threads=1, loader="memory")


@dataclass(frozen=True)
class Reach:
    """A published figure, and the suites in which it stands beside a cell.

    Attributes:
        figure: the figure.
        suites: what is the same in the closest cell of a suite (one of ``CLOSEST_FIRST``), by the suite's name.
        reason: why there is none; empty if there is one.
    """

    figure: Published
    suites: dict[str, str]
    reason: str


def reaches(task: str | None = None) -> list[Reach]:
    """The published figures of a task, or all, with the suites of this package that have a cell beside them.

    Raises:
        UserError: for an unknown task, or a published.csv that cannot be read.
    """
    dataset = None if task is None else tasks.get_task(task).title
    beside = _beside()
    return [
        Reach(figure, beside.get(figure.key, {}), "" if figure.key in beside else _reason(figure))
        for figure in published.figures()
        if dataset in (None, figure.dataset)
    ]


def _beside() -> dict[tuple[str, str, str, str], dict[str, str]]:
    """For each figure beside a cell of a suite, by its key: what is the same, by suite."""
    found: dict[tuple[str, str, str, str], dict[str, str]] = {}
    for name in suites.names():
        for cell, strategies in suites.with_strategies(suites.cells(suites.load(name), ONE_SEED)):
            figure = published.figure(cell.described)
            if figure is None:
                continue
            of_suites = found.setdefault(figure.key, {})
            for strategy in strategies:
                same = published.what_is_same(cell, name, strategy, figure) or OF_ANOTHER
                of_suites[name] = min(of_suites.get(name, OF_ANOTHER), same, key=CLOSEST_FIRST.index)
    return found


def _reason(figure: Published) -> str:
    if figure.metric != "top1":
        return f"{figure.metric} is not a metric of suites"
    return "no suite has this method and network with this data"
