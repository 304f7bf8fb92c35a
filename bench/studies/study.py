"""The definition of a study: from a request to rows and figures, and the file of its results."""

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
from bench.records import STUDY_FILE, Code, Environment, Model

if TYPE_CHECKING:  # drawing takes a second to import
    from matplotlib.figure import Figure

STUDIES = {
    "loaders": "bench.studies.loaders",
    "memory": "bench.studies.memory",
    "pooling-preservation": "bench.studies.pooling_preservation",
    "robustness": "bench.studies.robustness",
    "segmentation": "bench.studies.segmentation",
    "skipping": "bench.studies.skipping",
}
"""Module by study name; each has a ``STUDY``."""


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
        task: key of a task; None for the study's own.
        samples: number of images, at least two.
        seed: draws the images.
        data_dir: folder of the task's files; None for the usual places.
        settings: an object of the study's ``Settings`` class.
    """

    task: str | None
    samples: int
    seed: int
    data_dir: Path | None
    settings: Any = None


@dataclass(frozen=True)
class Findings:
    """Results of a study.

    Attributes:
        task: key of the task that was studied.
        columns: header of the rows.
        rows: lists of values, in the order of the columns.
        notes: explanations of the table.
        figures: functions that draw a figure, by file name without suffix.
    """

    task: str
    columns: tuple[str, ...]
    rows: list[list[str | int | float]]
    notes: list[str]
    figures: Mapping[str, Callable[[], Figure]]


@dataclass(frozen=True)
class NoSettings:
    """Settings of a study without settings."""


@dataclass(frozen=True)
class Study:
    """A study as the command line finds it; ``Settings`` is a dataclass of its own settings.

    Attributes:
        description: one line.
        measure: does the work.
        samples: default number of images.
    """

    description: str
    measure: Callable[[Request], Findings]
    Settings: type = NoSettings
    samples: int = 256


class StudyRecord(Model):
    """The file of a study: request, results, code and machine."""

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
    """Run a study, write record and figures to a folder, and return the record and the figures' paths.

    Args:
        name: of the study.
        request: the request; its settings are made from ``options``.
        out: folder for the record and the figures.
        options: settings of the study that differ from the default.

    Raises:
        UserError: for an unknown study, task or setting, or too few samples.
    """
    if request.samples < 2:
        raise UserError(f"--samples must be at least 2, got {request.samples}")
    study = get(name)
    request = replace(request, settings=validated(study.Settings, name, options or {}))
    fresh = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)  # before the work, which can take hours
        found = study.measure(request)
    except BaseException:
        with contextlib.suppress(OSError):  # a folder that is not empty stays
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
    records.write(out / STUDY_FILE, record)
    from bench.report import figures

    return record, [figures.save(draw(), out / f"{title}.png") for title, draw in found.figures.items()]
