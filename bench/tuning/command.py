"""Implementation of ``bench tune``."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from bench import tables
from bench.data import loaders
from bench.data.batches import augment
from bench.data.sets import tasks
from bench.errors import ExitStatus, UserError, unknown
from bench.tuning import export, tuner
from bench.tuning import space as spaces
from bench.tuning import study as studies

PRESETS: dict[str, dict[str, Any]] = {
    "cpu": {"trials": 30, "epochs": 6, "train_samples": 10000, "timeout": 1500.0, "pruner": "median", "threads": 1},
}
"""Few images and epochs. Successive halving pruned all but four of thirty trials, most of them after the first epoch,
before schedules with a low final rate reach their best; the median pruner lets half of them continue."""
DEFAULTS: dict[str, Any] = {
    "trials": 20, "epochs": 10, "pruner": "median", "sampler": "tpe", "objective": "accuracy",
}  # fmt: skip
LARGEST = 1_000_000


def tune(
    method: str,
    task: str,
    *,
    given: dict[str, Any],
    preset: str | None,
    name: str | None,
    storage: str | None,
    base: dict[str, Any],
    space: Sequence[str],
    space_file: Path | None,
    data_dir: Path | None,
    out: Path,
    plots: bool,
) -> int:
    """Run or resume a study; print its best trials.

    Args:
        method: the method to tune.
        task: the task to tune it on.
        given: values of ``tuner.Plan`` from the command line; None where not given.
        preset: a name in ``PRESETS``; ``given`` takes precedence.
        name: of the study; default: made of method and task.
        storage: see ``study.storage``.
        base: fixed settings.
        space: see ``space.narrowed``.
        space_file: see there.
        data_dir: folder of the data; None for the usual places.
        out: folder of the trials' runs and of the figures.
        plots: whether to draw them.

    Raises:
        UserError: for invalid input, before any trial.
    """
    if preset is not None and preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    asked = {key: value for key, value in given.items() if value is not None}
    chosen = DEFAULTS | PRESETS.get(preset or "", {}) | asked
    for key in ("trials", "epochs"):
        if not 1 <= chosen[key] <= LARGEST:
            raise UserError(f"--{key} must be from 1 to {LARGEST:,}, got {chosen[key]}")
    tasks.get_task(task)
    names = tuple(chosen.pop("augmentation", ()))
    augment.check_names(names)
    objectives = studies.objectives(chosen.pop("objective"))
    pruner = studies.pruner(chosen.pop("pruner"), chosen["epochs"])
    found_space = {key: part for key, part in spaces.narrowed(method, space, space_file).items() if key not in base}
    if not found_space:
        raise UserError(f"method {method!r} has nothing to tune: name a setting with --space")
    plan = tuner.Plan(
        method=method,
        task=task,
        base=base,
        space=found_space,
        objectives=objectives,
        augmentation=names,
        loader=loaders.resolve_kind(chosen.pop("loader", "memory")),
        **chosen,
    )
    studies.sampler(plan.sampler, plan.space, plan.seed)
    kept, lock = studies.storage(storage)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = studies.opened(name or f"{method}-{task}", kept, lock, plan.identity(), pruner, plan.first())
    try:
        tuner.run(plan, study, lock, out / study.study_name, data_dir)
    finally:
        _print(study)
    if plots:
        from bench.tuning import figures

        for path in figures.draw(study, out / study.study_name / "figures"):
            print(f"figure: {path}", file=sys.stderr)
    return ExitStatus.OK if tuner.promising(study, 1) else ExitStatus.NOTHING_MEASURED


def show_space(method: str, space: Sequence[str], space_file: Path | None, form: tables.Format) -> None:
    """Print the search space of a method."""
    from rich.console import Console

    found = spaces.narrowed(method, space, space_file)
    lines = [[key, *spaces.described(dimension)] for key, dimension in found.items()]
    tables.render(f"search space of {method}", ["setting", "values", "when"], lines, form, Console())


def export_suite(names: Sequence[str], storage: str | None, to: Path) -> None:
    """Write the best settings of studies as a suite file.

    Raises:
        UserError: for an unknown study, or studies that do not fit together.
    """
    if to.suffix != ".toml":
        raise UserError(f"--to {str(to)!r} is not the name of a TOML file")
    kept, _ = studies.storage(storage)
    content = export.suite([studies.loaded(name, kept) for name in names])
    export.write(content, to)
    print(to)


def _print(study: optuna.Study) -> None:
    """Print the best trials, those run with several seeds by their mean, and how the others ended."""
    from rich.console import Console

    lines = []
    for trial in tuner.promising(study, 10):
        values = tuner.by_seed(study, trial)
        drawn = ", ".join(f"{key}={tuner.short(value)}" for key, value in trial.user_attrs["settings"].items())
        others = [f"{value:.2f}" for value in trial.values[1:]]
        lines.append([str(trial.number), f"{statistics.fmean(values.values()):.2f}", str(len(values)), *others, drawn])
    header = ["trial", "validation %", "seeds", *study.user_attrs["objectives"][1:], "settings"]
    tables.render(f"study {study.study_name}", header, lines, "rich", Console())
    ended = [tuner.how_it_ended(trial) for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    for how in ("complete", "pruned", "failed"):
        print(f"{ended.count(how)} {how}", file=sys.stderr)
