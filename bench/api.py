"""The harness from Python: run a suite, load a folder of runs, check records against references.

    import bench

    runs = bench.run("quick", methods=["asge", "backprop"], seeds=3, settings={"asge": {"alpha": 0.5}})
    runs.frame()        # one row per strategy and seed
    runs.accuracies()   # means with intervals
    runs.plot()         # Matplotlib figures by name

The command line calls the same functions.
"""

from __future__ import annotations

import functools
import inspect
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import pandas as pd

from bench import records
from bench.errors import unknown
from bench.options import DEFAULT_RUNS, RunOptions
from bench.records import Found, Record
from bench.reference.verdicts import Check
from bench.report import rows
from bench.report.rows import Row
from bench.statistics import half_width

if TYPE_CHECKING:  # PyTorch and Matplotlib take seconds to import; records are read without
    from matplotlib.figure import Figure

    from bench.running.gate import Verdicts

P = ParamSpec("P")
R = TypeVar("R")
_NOT_IN_FRAMES = ("weights", "inputs", "conditions", "between", "optimiser")


@dataclass(frozen=True)
class Runs:
    """The runs of a folder: their records, and the cells without one.

    Attributes:
        folder: the folder.
        found: records, interrupted and running cells, files that cannot be read.
        checks: verdicts against the references of the suite that was run; empty for a loaded folder.
        problems: one sentence per cell without a result.
    """

    folder: Path
    found: Found
    checks: Sequence[Check] = ()
    problems: Sequence[str] = ()

    @property
    def records(self) -> Sequence[Record]:
        """The records, including those of failed cells."""
        return self.found.records

    @functools.cached_property
    def rows(self) -> Sequence[Row]:
        """One row per strategy of each cell, including failed ones."""
        return rows.make(self.found, self.checks)

    def frame(self) -> pd.DataFrame:
        """One row per strategy and seed: ``run`` (the method and its differing settings), then all numbers.

        Accuracies are per cent, memory is in bytes, times are in seconds. Conditions that differ between runs
        of a method have one column each, after the numbers.
        """
        columns = [field.name for field in fields(Row) if field.name not in _NOT_IN_FRAMES]
        differing = _differing(self.rows, columns)
        lines = [
            {"run": name}
            | {key: value for key, value in asdict(row).items() if key in columns}
            | {key: row.conditions.get(key) for key in differing}
            for row, name in zip(self.rows, rows.labels_of_rows(self.rows), strict=True)
        ]
        return pd.DataFrame(lines, columns=["run", *columns, *differing])

    def accuracies(self) -> pd.DataFrame:
        """One row per task, run and strategy: ``mean`` over ``seeds``, ``half_width`` of its 95 % Student-t interval.

        Test accuracies of the last epoch in per cent; cells without a result are left out.
        """
        groups: dict[tuple[str, str, str], list[float]] = {}
        for row, name in zip(self.rows, rows.labels_of_rows(self.rows), strict=True):
            if row.accuracy is not None:
                groups.setdefault((row.task, name, row.strategy), []).append(row.accuracy)
        lines = [(*key, statistics.fmean(values), half_width(values), len(values)) for key, values in groups.items()]
        return pd.DataFrame(lines, columns=["task", "run", "strategy", "mean", "half_width", "seeds"])

    def plot(self, *names: str) -> dict[str, Figure]:
        """Matplotlib figures by name, ``TASK-FIGURE``, of those that the records have data for.

        Args:
            names: such as "accuracy-against-time"; none for all figures.

        Raises:
            UserError: for a figure that does not exist.
        """
        import matplotlib.pyplot as plt

        from bench.report import figures

        for name in names:
            if name not in figures.every():
                raise unknown("figure", name, figures.every())
        drawn = dict(figures.drawn(self.records, names or None))
        for figure in drawn.values():
            plt.close(figure)  # owned by the caller: pyplot would keep it, and a notebook show it twice
        return drawn

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __repr__(self) -> str:
        without = len(self.found.stopped) + len(self.found.running) + len(self.found.unreadable)
        return f"Runs({str(self.folder)!r}: {len(self)} records{f', {without} cells without one' if without else ''})"

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>{self.accuracies().to_html(index=False, float_format='{:.2f}'.format)}"


def _differing(table: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Conditions that differ between runs of a method and have no column yet."""
    values: dict[tuple[str, str], set[str]] = {}
    for row in table:
        for key, value in row.conditions.items():
            values.setdefault((row.method, key), set()).add(repr(value))
    return list(dict.fromkeys(key for (_, key), found in values.items() if len(found) > 1 and key not in columns))


def _with_keywords_of(options: Callable[P, RunOptions]) -> Callable[[Callable[[RunOptions], R]], Callable[P, R]]:
    """Let a function of ``RunOptions`` take their fields as keywords, with the options' signature."""

    def decorate(function: Callable[[RunOptions], R]) -> Callable[P, R]:
        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            return function(options(*args, **kwargs))

        called.__signature__ = inspect.signature(options)  # type: ignore[attr-defined]
        return called

    return decorate


@_with_keywords_of(RunOptions)
def run(options: RunOptions) -> Runs:
    """Run a suite and return its runs; finished cells are skipped, interrupted ones resume.

    Takes the fields of ``bench.options.RunOptions`` as keywords: ``suite`` (a name or a TOML file), ``methods``,
    ``tasks``, ``seeds``, ``first_seed``, ``epochs``, ``loader``, ``device``, ``threads``, ``settings`` (by method),
    ``data_dir``, ``out``, ``force``, ``keep``, ``stall``, ``watchers``, ``unequal_budgets``. Progress is shown as on
    the command line. A failed cell raises no exception: see ``Runs.problems``.

    Raises:
        UserError: for invalid input, before any cell runs if it can be known then.
    """
    from bench.running import progress, suite

    done = suite.run(options, progress.console())
    problems = [progress.describe_outcome(done.titles[outcome.cell.id], outcome) for outcome in done.bad]
    return Runs(options.runs, done.found, done.checks, problems)


def load(folder: str | Path = DEFAULT_RUNS) -> Runs:
    """Load the runs in a folder.

    Raises:
        UserError: if the folder does not exist, or a cell has neither a readable record nor a readable spec.
    """
    return Runs(Path(folder), records.read_all(Path(folder)))


def check(
    suite: str,
    *,
    runs: str | Path = DEFAULT_RUNS,
    confirm: bool = True,
    any_code: bool = False,
    data_dir: str | Path | None = None,
) -> Verdicts:
    """Compare a suite's records with its measured references.

    Args:
        suite: a suite's name, or a TOML file.
        runs: folder of runs.
        confirm: run the reference's seeds again if an accuracy is too low, and let them decide.
        any_code: also count records made by a different version of the code.
        data_dir: folder of the data sets, for the reference's seeds.

    Raises:
        UserError: for invalid input.
    """
    from bench.running import gate, progress

    return gate.check_suite(
        suite,
        runs=Path(runs),
        confirming=confirm,
        any_code=any_code,
        data_dir=None if data_dir is None else Path(data_dir),
        console=progress.console(),
    )
