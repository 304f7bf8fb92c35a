"""The leaderboard: who is ahead on a task with a budget, and how sure that is.

A board is made of one folder of runs, or of several that belong together, such as "results/quick+results/rivals". Each
run with its own settings has one line: that of the strategy which is best on validation images after the last epoch,
mean over seeds. Test images choose nothing.

Two runs are told apart if their mean test accuracies differ by the test of Games and Howell (1976), for all pairs at
once at 5 %, which allows each its own deviation over seeds. A run's place is 1 plus the number of those that are better
by this test, so that runs which cannot be told apart share a place; it might be as low as the number of all but those
that are worse. A run with a single seed has no place.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import records
from bench.errors import UserError
from bench.records import Found, Record, StrategyRecord
from bench.records.names import labels_of_cells
from bench.report.table import accuracy_text
from bench.report.targets import accuracy_at, shortest

LEVEL = 0.05
HEADER = [
    "place",
    "method",
    "strategy",
    "test accuracy %",
    "seeds",
    "minutes",
    "% at equal time",
    "peak live MiB",
    "kJ",
]
MIB = 2**20


@dataclass(frozen=True)
class Line:
    """A run of a board: the seeds of one setting.

    Attributes:
        place, lowest: see above; None where there is no place.
        label: the method, with what distinguishes it from its other runs.
        strategy: the best on validation images.
        accuracies: on test images after the last epoch, per cent, one per seed.
        minutes: of training, mean.
        at_equal_time: validation accuracy after the time that all runs of the board have had, mean; None if a seed had
            ended no epoch then.
        live_bytes: peak of a training step.
        joules: of training, mean; None if it was not measured for all seeds.
    """

    place: int | None
    lowest: int | None
    label: str
    strategy: str
    accuracies: tuple[float, ...]
    minutes: float
    at_equal_time: float | None
    live_bytes: float
    joules: float | None

    @property
    def cells(self) -> list[str]:
        """The line as the cells of a table, see ``HEADER``."""
        return [
            self._place,
            self.label,
            self.strategy,
            accuracy_text(self.accuracies),
            str(len(self.accuracies)),
            f"{self.minutes:,.1f}",
            "-" if self.at_equal_time is None else f"{self.at_equal_time:.2f}",
            f"{self.live_bytes / MIB:,.1f}",
            "-" if self.joules is None else f"{self.joules / 1000:,.2f}",
        ]

    @property
    def _place(self) -> str:
        if self.place is None:
            return "-"
        return f"{self.place}" if self.place == self.lowest else f"{self.place} to {self.lowest}"


@dataclass(frozen=True)
class Board:
    """The runs on one task with one budget, the best first.

    Attributes:
        task: its name.
        suites: names of the suites that were run.
        budget: in words.
        folders: of its records.
        lines: of its runs.
    """

    task: str
    suites: tuple[str, ...]
    budget: str
    folders: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """Names the board."""
        return f"{self.task}: {' and '.join(self.suites)}, {self.budget}"

    @property
    def notes(self) -> list[str]:
        """What a reader has to know to read the board."""
        first = [line.label for line in self.lines if line.place == 1]
        if not first:
            return ["Fewer than two runs have a second seed: who is ahead is not known."]
        ahead = f"{', '.join(first)} share the first place" if len(first) > 1 else f"{first[0]} is ahead"
        alone = any(line.place is None for line in self.lines)
        return [f"{ahead} (5 % for all pairs together).{' Runs with one seed have no place.' if alone else ''}"]


def boards(places: Sequence[str | Path], root: Path = Path()) -> list[Board]:
    """The boards of some folders of runs.

    Args:
        places: folders, or several joined by "+" for one board; a folder of folders stands for each of those in it
            whose runs are of several methods.
        root: what they are relative to.

    Raises:
        UserError: if a folder does not exist, or there is no board.
    """
    groups = [group for place in places for group in _groups(str(place), root)]
    found = [board for group in groups for board in _boards(group, root)]
    if not found:
        raise UserError(f"{', '.join(map(str, places))}: no task has runs of several methods")
    return found


def _groups(place: str, root: Path) -> list[tuple[str, ...]]:
    folders = tuple(place.split("+"))
    for folder in folders:
        if not (root / folder).is_dir():
            raise UserError(f"folder {folder} does not exist")
    if len(folders) > 1:
        return [folders]
    inside = [each for each in records.folders(root / place) if _methods(records.read_all(each)) > 1]
    return [(each.relative_to(root).as_posix(),) for each in inside]


def _methods(found: Found) -> int:
    return len({record.cell.method for record in found.records if record.status == "ok"})


def _boards(folders: tuple[str, ...], root: Path) -> list[Board]:
    unique: dict[str, Record] = {}
    for folder in folders:
        unique |= {each.id: each for each in records.read_all(root / folder).records if each.status == "ok"}
    done = [record for record in unique.values() if record.training is not None]
    found = []
    for task in sorted({record.cell.task for record in done}):
        of_task = [record for record in done if record.cell.task == task]
        suites = tuple(dict.fromkeys(record.suite for record in of_task))
        found.append(Board(task, suites, _budget(of_task), folders, _lines(of_task)))
    return found


def _budget(of_task: Sequence[Record]) -> str:
    epochs = sorted({record.cell.epochs for record in of_task})
    samples = sorted({record.cell.train_samples or 0 for record in of_task})
    images = "all training images" if samples == [0] else " or ".join(f"{n:,} images" if n else "all" for n in samples)
    length = f"{epochs[0]} epochs" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]} epochs"
    return f"{length}, {images}"


def _lines(of_task: Sequence[Record]) -> tuple[Line, ...]:
    runs: dict[str, list[Record]] = {}
    for name, record in zip(labels_of_cells([record.cell for record in of_task], brief=True), of_task, strict=True):
        runs.setdefault(name, []).append(record)
    chosen = {name: _best_on_validation(seeds) for name, seeds in runs.items()}
    accuracies = {
        name: tuple(
            _strategy(record, chosen[name]).accuracy for record in sorted(seeds, key=lambda each: each.cell.seed)
        )
        for name, seeds in runs.items()
    }
    ranks, time = places(accuracies), shortest(of_task)
    lines = [_line(name, chosen[name], accuracies[name], runs[name], ranks, time) for name in runs]
    return tuple(sorted(lines, key=lambda line: (-statistics.fmean(line.accuracies), line.label)))


def _line(
    name: str,
    strategy: str,
    accuracies: tuple[float, ...],
    seeds: Sequence[Record],
    ranks: Mapping[str, tuple[int, int]],
    time: float,
) -> Line:
    trainings = [record.training for record in seeds if record.training is not None]
    place, lowest = ranks.get(name, (None, None))
    return Line(
        place=place,
        lowest=lowest,
        label=name,
        strategy=strategy,
        accuracies=accuracies,
        minutes=statistics.fmean(training.seconds for training in trainings) / 60,
        at_equal_time=_mean([accuracy_at(record, strategy, time) for record in seeds]),
        live_bytes=statistics.fmean(training.peak_live_bytes for training in trainings),
        joules=_mean([training.energy_joules for training in trainings]),
    )


def _best_on_validation(seeds: Sequence[Record]) -> str:
    def mean(strategy: str) -> float:
        return statistics.fmean(record.epochs[-1].validation.get(strategy, 0.0) for record in seeds)

    return max((part.strategy for part in seeds[0].strategies), key=mean)


def _strategy(record: Record, name: str) -> StrategyRecord:
    return next(part for part in record.strategies if part.strategy == name)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def places(accuracies: Mapping[str, Sequence[float]]) -> dict[str, tuple[int, int]]:
    """The place of each run that has one, and the lowest that it might have; see above."""
    tested = {name: list(values) for name, values in accuracies.items() if len(values) > 1}
    if len(tested) < 2:
        return {}
    from scipy import stats  # takes a second to import

    with warnings.catch_warnings():  # of deviations of 0, whose pairs count as not told apart
        warnings.simplefilter("ignore", RuntimeWarning)
        found = stats.tukey_hsd(*tested.values(), equal_var=False)
    differ = found.pvalue < LEVEL
    better = (differ & (found.statistic < 0)).sum(axis=1)
    worse = (differ & (found.statistic > 0)).sum(axis=1)
    return {name: (1 + int(better[i]), len(tested) - int(worse[i])) for i, name in enumerate(tested)}
