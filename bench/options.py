"""The options of a run, as one object: a new field here is a new option of ``bench run`` and ``bench.run``.

The command line builds its options from the fields and their ``Help``; everything that runs cells gets the object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from bench.errors import UserError

DEFAULT_RUNS = Path("results/runs")
STALL_SECONDS = 1800.0
"""Seconds without output after which a cell is killed; it reports twice a second while it trains."""

Names = str | Sequence[str]
"""Names, or one comma-separated text."""


@dataclass(frozen=True)
class Help:
    """Describes a field to the command line.

    Attributes:
        text: one sentence.
        option: the option's name, if it differs from the field's.
        metavar: the form of the value of an option that may be repeated.
        least: the smallest valid value.
    """

    text: str
    option: str | None = None
    metavar: str | None = None
    least: float | None = None


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """A run's changes to its suite; None leaves a value unchanged."""

    methods: Annotated[Names | None, Help("A subset of the suite's methods, separated by commas.")] = None
    tasks: Annotated[Names | None, Help("Tasks instead of the suite's, separated by commas.")] = None
    seeds: Annotated[int | None, Help("Number of seeds.")] = None
    first_seed: Annotated[int, Help("First seed.")] = 0
    epochs: Annotated[int | None, Help("Epochs for every method.")] = None
    loader: Annotated[str | None, Help("auto, ffcv, memory, device or torch.")] = None
    device: Annotated[str, Help("cpu, cuda or cuda:N.")] = "cpu"
    precision: Annotated[str | None, Help("float32, tf32 or bf16.")] = None
    execution: Annotated[str | None, Help("eager or compiled: steps as written, or by PyTorch's compiler.")] = None
    threads: Annotated[
        int | None,
        Help("CPU threads; they affect the last bits of results. Default: the suite's, else all available."),
    ] = None
    workers: Annotated[
        int | None,
        Help("Cells at a time, with a share of the CPU's cores each; default: one, or one per device.", least=1),
    ] = None
    devices: Annotated[
        Names | None, Help("CUDA devices for cells to share, such as cuda:0,cuda:1; each runs on one of them.")
    ] = None
    settings: Annotated[
        Mapping[str, Mapping[str, Any]],
        Help("Change a setting; may be repeated.", option="--set", metavar="METHOD.KEY=VALUE"),
    ] = field(default_factory=dict)

    @property
    def lanes(self) -> int:
        """The number of cells at a time."""
        return self.workers or max(1, len(names_in(self.devices, "devices") or ()))


@dataclass(frozen=True, kw_only=True)
class RunOptions(Overrides):
    """A run: its suite and changes to it, the folder of its runs, the treatment of finished cells."""

    suite: Annotated[str, Help("Same as the argument.")] = field(default="quick", kw_only=False)
    data_dir: Annotated[
        str | Path | None,
        Help("Folder with the data sets in torchvision's layout; default: $BENCH_DATA, else the cache."),
    ] = None
    out: Annotated[str | Path, Help("Folder of runs.")] = DEFAULT_RUNS
    force: Annotated[bool, Help("Run finished cells again.")] = False
    any_code: Annotated[bool, Help("Also skip finished cells whose records were made by other code.")] = False
    keep: Annotated[
        bool, Help("Keep every cell's final weights in learned.pt; finished cells without them run again.")
    ] = False
    rough: Annotated[
        bool, Help("Time steps and predictions only once, for a quick look; their speeds are marked as noisy.")
    ] = False
    stall: Annotated[float, Help("Kill a cell after this many seconds without output.", least=1.0)] = STALL_SECONDS
    watchers: Annotated[
        Names | None, Help("Watchers of installed packages that hear what happens too, separated by commas.")
    ] = None
    unequal_budgets: Annotated[bool, Help("Compare methods whose tuning took unequal budgets.")] = False

    @property
    def changes(self) -> dict[str, Any]:
        """The changes to the suite after which a cell is none of the suite's cells."""
        settings = {method: dict(values) for method, values in self.settings.items()}
        given = {
            "epochs": self.epochs,
            "tasks": names_in(self.tasks, "tasks"),
            "precision": self.precision,
            "execution": self.execution,
            "settings": settings,
        }
        return {name: value for name, value in given.items() if value}

    @property
    def runs(self) -> Path:
        """The folder of runs."""
        return Path(self.out)

    @property
    def data(self) -> Path | None:
        """The folder of the data sets; None for the usual places."""
        return None if self.data_dir is None else Path(self.data_dir)


def names_in(names: Names | None, option: str = "names") -> tuple[str, ...] | None:
    """Names from a list or a comma-separated text; None stays None.

    Raises:
        UserError: for anything else.
    """
    if isinstance(names, str):
        return tuple(part.strip() for part in names.split(",") if part.strip())
    if names is None:
        return None
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{option} = {names!r} is not a list of names")
    return tuple(names)
