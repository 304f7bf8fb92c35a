"""The parts of a cell: the loaders of its data, and its learner."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench import methods, seeds
from bench.data import loaders
from bench.data.ffcv.beton import CountProgress
from bench.data.sets import splits, tasks
from bench.data.sets.resizing import resized
from bench.errors import UserError
from bench.methods import Beginner, Compilable, Learner, settings
from bench.records import CellSpec

EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Data:
    """Loaders of the three splits."""

    train: loaders.Loader
    validation: loaders.Loader
    test: loaders.Loader


def task_of(spec: CellSpec) -> tasks.Task:
    """A cell's task, with images of the cell's size."""
    return resized(tasks.get_task(spec.task), spec.resize)


def split(spec: CellSpec, data_dir: Path | None) -> splits.Splits:
    """A cell's samples.

    Raises:
        UserError: if the data is not available, or has fewer samples than the cell needs.
    """
    task = task_of(spec)
    return splits.split(
        task,
        task.read(data_dir),
        train_limit=spec.train_samples,
        kind=spec.split,
        validation_samples=spec.validation_samples,
    )


@contextlib.contextmanager
def data(spec: CellSpec, data_dir: Path | None, progress: CountProgress | None = None) -> Iterator[Data]:
    """A cell's data, on its device; the loaders are closed afterwards.

    Args:
        spec: the cell.
        data_dir: where the task's files are; None for the usual places.
        progress: told of the progress of files that the loader has to write.

    Raises:
        UserError: if the data is not available.
    """
    task = task_of(spec)
    parts = split(spec, data_dir)

    def loader(part: splits.Split, *, train: bool = False, augmented: bool = False) -> loaders.Loader:
        return loaders.make_loader(
            spec.loader,
            task,
            part,
            batch_size=spec.batch_size if train else EVALUATION_BATCH,
            seed=spec.seed,
            shuffle=train,
            augmentation=spec.augmentation if augmented else (),
            device=torch.device(spec.device),
            resolutions=(spec.resolutions or ()) if train else (),
            packing=spec.packing,
            scaling=spec.scaling,
            progress=progress,
        )

    with contextlib.ExitStack() as stack:
        train = stack.enter_context(contextlib.closing(loader(parts.train, train=True, augmented=True)))
        validation = stack.enter_context(
            contextlib.closing(loader(parts.validation, augmented=spec.augmented_validation))
        )
        test = stack.enter_context(contextlib.closing(loader(parts.test)))
        yield Data(train, validation, test)


@dataclass(frozen=True)
class Budget:
    """See ``asge.common.types.TrainingBudget``."""

    epochs: int
    steps_per_epoch: int


def learner(spec: CellSpec, steps_per_epoch: int) -> tuple[Learner, torch.Generator]:
    """Make a cell's learner and the generator of its randomness.

    Raises:
        UserError: if settings and task do not fit.
    """
    generator = seeds.generator(spec.seed, "learner")
    budget = Budget(spec.epochs, steps_per_epoch)
    task, device = task_of(spec), torch.device(spec.device)
    made = build(spec.method, spec.settings, task, budget, device, generator)
    if spec.execution == "compiled":
        _compile(made, spec.method)
    return made, generator


def _compile(learner: Learner, method: str) -> None:
    """Compile a learner's step, or raise a UserError that says why it cannot be."""
    if not isinstance(learner, Compilable):
        raise UserError(f"method {method!r} has no compiled step: it has no 'compile'; run it with execution 'eager'")
    try:
        learner.compile()
    except ValueError as error:
        raise UserError(f"{method} with these settings has no compiled step: {error}") from error


def build(
    method: str,
    values: Mapping[str, Any],
    task: tasks.Task,
    budget: Budget,
    device: torch.device,
    generator: torch.Generator,
) -> Learner:
    """Make a learner by method name and settings.

    Raises:
        UserError: if settings and task do not fit.
    """
    try:
        return methods.get(method).build(task, settings.make(method, values), budget, device, generator)
    except (ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{method} cannot be built for {task.name}: {reason}") from error


def begin(learner: Learner, spec: CellSpec, state: dict[str, Any]) -> None:
    """Start a learner from another one's state.

    Raises:
        UserError: if the method does not support that, or the state is of another network.
    """
    if not isinstance(learner, Beginner):
        raise UserError(f"method {spec.method!r} cannot start from a checkpoint: it has no 'begin_with'")
    try:
        learner.begin_with(state)
    except ValueError as error:
        raise UserError(
            f"{spec.method} cannot start from {spec.begins_with and spec.begins_with.id}: {error}"
        ) from error


def check_resolutions(spec: CellSpec, made: Learner) -> None:
    """Raise a UserError if a learner does not accept images of the sides that a cell trains on."""
    channels, height, width = task_of(spec).shape
    for _, side in spec.resolutions or ():
        try:
            for strategy in made.strategies:
                made.predict(torch.zeros(1, channels, side, side), strategy)
        except (ValueError, RuntimeError):
            raise UserError(
                f"{spec.method} with these settings takes images of {height} x {width} pixels only, "
                f"not of {side} x {side} as in resolutions"
            ) from None


def yardstick(spec: CellSpec) -> CellSpec | None:
    """The cell of the yardstick, whose learner a cell's speed is compared with.

    On a CPU its steps are not compiled: those of backprop, in which convolutions are most of the work, are slower then.
    """
    if spec.yardstick is None:
        return None
    other = {"method": spec.yardstick.method, "settings": spec.yardstick.settings, "described": None}
    if spec.device == "cpu":
        other |= {"execution": "eager"}
    return spec.model_copy(update=other)
