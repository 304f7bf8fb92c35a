"""The cells of a suite in a folder of runs, as a file: any number of workers, on any machines, run them together."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from bench.errors import UserError
from bench.options import STALL_SECONDS, RunOptions
from bench.records.cells import CellSpec, Model
from bench.records.files import write

PATTERN = "worklist-*.json"


class Worklist(Model):
    """Cells to run, and how.

    Attributes:
        suite: name of the suite.
        created: when it was written, ISO 8601; with ``force``, records from then on are not made again.
        cells: in the order in which they start.
        overrides: changes to the suite, see ``bench.options.RunOptions.changes``.
        data_dir, keep, rough, force, stall, any_code: see ``bench.options.RunOptions``.
    """

    suite: str
    created: str
    cells: tuple[CellSpec, ...]
    overrides: dict[str, Any] = Field(default_factory=dict)
    data_dir: Path | None = None
    keep: bool = False
    rough: bool = False
    force: bool = False
    stall: float = STALL_SECONDS
    any_code: bool = False

    def options(self, runs: Path) -> RunOptions:
        """The options with which its cells run, in a folder of runs."""
        return RunOptions(
            self.suite, out=runs, data_dir=self.data_dir, keep=self.keep, rough=self.rough, force=self.force,
            stall=self.stall, any_code=self.any_code, **self.overrides,
        )  # fmt: skip

    @property
    def since(self) -> dt.datetime:
        """``created`` as a time."""
        return dt.datetime.fromisoformat(self.created)


def write_worklist(cells: list[CellSpec], options: RunOptions) -> Worklist:
    """Write the worklist of a run into its folder; one of the same suite is replaced."""
    made = Worklist(
        suite=options.suite,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        cells=tuple(cells),
        overrides=options.changes,
        data_dir=None if options.data is None else options.data.absolute(),
        keep=options.keep,
        rough=options.rough,
        force=options.force,
        stall=options.stall,
        any_code=options.any_code,
    )
    write(options.runs / f"worklist-{options.suite}.json", made)
    return made


def read_worklists(runs: Path) -> list[Worklist]:
    """The worklists of a folder of runs, by name.

    Raises:
        UserError: if there is none, or one cannot be read.
    """
    found = sorted(runs.glob(PATTERN))
    if not found:
        raise UserError(f"{str(runs)!r} has no worklist; `bench run` and `bench submit` write one")
    lists = []
    for path in found:
        try:
            lists.append(Worklist.model_validate_json(path.read_bytes()))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UserError(f"{path} is no worklist ({where or 'file'}: {first['msg']}); run the suite again") from None
    return lists
