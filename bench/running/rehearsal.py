"""Finds predictable failures before the first cell runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bench.data import loaders
from bench.data.sets import sources, tasks
from bench.errors import UserError
from bench.measure import noise
from bench.records import CellSpec
from bench.running import parts


def rehearse(cells: Sequence[CellSpec], data_dir: Path | None) -> None:
    """Check threads, environment variables, settings and data files before anything runs.

    Missing data is downloaded.
    """
    rehearse_settings(cells)
    for name in dict.fromkeys(spec.task for spec in cells):
        task = tasks.get_task(name)
        root = sources.locate(task, data_dir)
        for status in sources.verify(task, data_dir):
            if status.status != "ok":
                raise UserError(
                    f"{root / status.path} is {status.status} ({status.detail}); `bench data get {name}` repairs it"
                )
        # Cells that take other samples or images than the task's own may ask for what it does not have.
        for spec in {_samples(spec): spec for spec in cells if spec.task == name and any(_samples(spec))}.values():
            parts.split(spec, data_dir)


def _samples(spec: CellSpec) -> tuple[int | None, ...]:
    return spec.train_samples, spec.validation_samples, spec.resize


def rehearse_settings(cells: Sequence[CellSpec]) -> None:
    """Check threads, environment variables and settings, and build every learner once; raises a UserError."""
    most = 16 * (os.cpu_count() or 1)
    widest = max(cell.threads for cell in cells)
    if widest > most:
        raise UserError(f"--threads {widest} is not valid on this machine: 1 to {most}")
    noise.tries()
    loaders.workers_wanted()
    for spec in {(spec.method, spec.task, spec.experiment): spec for spec in cells}.values():
        for built in filter(None, (spec, parts.yardstick(spec))):
            learner, _ = parts.learner(built.model_copy(update={"device": "cpu"}), steps_per_epoch=1)
            if built.begins_with is not None:
                other, _ = parts.learner(built.begins_with.model_copy(update={"device": "cpu"}), steps_per_epoch=1)
                parts.begin(learner, built, other.state_dict())
            parts.check_resolutions(spec, learner)
