"""A study from its options: the plan, the trials, the figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna

from bench.data import loaders
from bench.data.batches import augment
from bench.data.sets import tasks
from bench.errors import UserError, unknown
from bench.tuning import space as spaces
from bench.tuning import study as studies
from bench.tuning import tuner

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
    ended: Callable[[optuna.Study], None],
) -> optuna.Study:
    """Run or resume a study.

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
        ended: is given the study after the last trial, also if an error or the user ends it early.

    Raises:
        UserError: for invalid input, before any trial.
    """
    if preset is not None and preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    asked = {key: value for key, value in given.items() if value is not None}
    chosen = DEFAULTS | PRESETS.get(preset or "", {}) | asked
    for key in ("trials", "epochs", *(["workers"] if "workers" in chosen else [])):
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
        ended(study)
    return study
