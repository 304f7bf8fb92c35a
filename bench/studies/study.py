"""What a study is: from a request to rows and figures, and the file that keeps them."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench import records
from bench.errors import UserError, unknown
from bench.measure import environment
from bench.methods.settings import validated
from bench.records import Code, Environment, Model

if TYPE_CHECKING:  # drawing takes a second to import
    from matplotlib.figure import Figure

STUDIES = {
    "loaders": "bench.studies.loaders",
    "pooling-preservation": "bench.studies.pooling_preservation",
    "robustness": "bench.studies.robustness",
    "segmentation": "bench.studies.segmentation",
    "skipping": "bench.studies.skipping",
}
"""Module by name; each has a ``STUDY``."""
FILE = "study.json"


@dataclass(frozen=True)
class Request:
    """What a user may choose.

    Attributes:
        task: key of a task; None for the study's own.
        samples: how many images, at least two.
        seed: draws them.
        data_dir: where the task's files are; None for the usual places.
        settings: the study's own, an object of its ``Settings`` class.
    """

    task: str | None
    samples: int
    seed: int
    data_dir: Path | None
    settings: Any = None


@dataclass(frozen=True)
class Findings:
    """What a study gives.

    Attributes:
        task: key of the task that was studied.
        columns: what the rows hold, for the header of a table.
        rows: a list of values each, in the order of the columns.
        notes: what has to be known to read the table.
        figures: draws each, by file name without its ending.
    """

    task: str
    columns: tuple[str, ...]
    rows: list[list[str | int | float]]
    notes: list[str]
    figures: Mapping[str, Callable[[], Figure]]


@dataclass(frozen=True)
class NoSettings:
    """Settings of a study that has none."""


@dataclass(frozen=True)
class Study:
    """A study as the command line finds it; ``Settings`` is a dataclass of what is its own to choose.

    Attributes:
        description: one line.
        measure: does the work.
        samples: how many images, where the user names no number.
    """

    description: str
    measure: Callable[[Request], Findings]
    Settings: type = NoSettings
    samples: int = 256


class StudyRecord(Model):
    """The file of a study: what was asked, what was found, by which code and where."""

    study: str
    task: str
    samples: int
    seed: int
    settings: dict[str, Any]
    columns: tuple[str, ...]
    rows: list[list[str | int | float]]
    notes: list[str]
    created: str
    code: Code
    environment: Environment


def names() -> list[str]:
    """The names of all studies, sorted."""
    return sorted(STUDIES)


def get(name: str) -> Study:
    """The study called ``name``; a UserError names the valid ones."""
    if name not in STUDIES:
        raise unknown("study", name, STUDIES)
    study: Study = importlib.import_module(STUDIES[name]).STUDY
    return study


def run(
    name: str, request: Request, out: Path, options: Mapping[str, Any] | None = None
) -> tuple[StudyRecord, list[Path]]:
    """Measure, write the record and the figures to a folder, and give the record and the paths of the figures.

    Args:
        name: of the study.
        request: what is asked; its settings are made from ``options``.
        out: folder for the record and the figures.
        options: settings of the study that are not to be the default.

    Raises:
        UserError: for an unknown study, task or setting, or too few samples.
    """
    if request.samples < 2:
        raise UserError(f"--samples must be at least 2, got {request.samples}")
    study = get(name)
    request = replace(request, settings=validated(study.Settings, name, options or {}))
    fresh = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)  # before the work, which may take hours
        found = study.measure(request)
    except BaseException:
        with contextlib.suppress(OSError):  # a folder that holds something stays
            for folder in fresh:
                folder.rmdir()
        raise
    record = StudyRecord(
        study=name,
        task=found.task,
        samples=request.samples,
        seed=request.seed,
        settings=asdict(request.settings),
        columns=found.columns,
        rows=found.rows,
        notes=found.notes,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        code=environment.code(),
        environment=environment.environment(torch.device(getattr(request.settings, "device", "cpu"))),
    )
    records.write(out / FILE, record)
    from bench.report import figures

    return record, [figures.save(draw(), out / f"{title}.png") for title, draw in found.figures.items()]
