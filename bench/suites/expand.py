"""Expands a suite, with the command line's overrides, into cells."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

from bench.data import loaders
from bench.data.batches import augment
from bench.data.ffcv.packing import Packing
from bench.data.sets import tasks
from bench.errors import UserError, unknown
from bench.inputs import device_name
from bench.methods import contract, settings
from bench.options import Overrides, names_in
from bench.records import CellSpec, Start, Tuned, Yardstick
from bench.records.cells import Execution, Precision, Scaling
from bench.suites import describe
from bench.suites.file import Suite

Table = Literal["epochs_of", "seeds_of", "threads_of"]
TABLES: tuple[Table, ...] = ("epochs_of", "seeds_of", "threads_of")
NO_OVERRIDES = Overrides()
TOLERANCE = 0.1
"""Largest relative difference between tuning budgets that may be compared."""
LARGEST = 1_000_000
"""Upper limit of seeds, epochs and threads: a larger number is a typing error."""


def cells(suite: Suite, overrides: Overrides = NO_OVERRIDES) -> list[CellSpec]:
    """All cells of a suite, by task, then seed, then method, so that early results can already be compared.

    Without ``threads`` in the overrides, every cell has the suite's number, or else as many as this process may use.

    Raises:
        UserError: for anything invalid, before anything runs.
    """
    chosen = _chosen("--methods", names_in(overrides.methods, "methods"), tuple(suite.methods))
    for method in (*chosen, *overrides.settings):
        if method not in suite.methods:
            raise unknown(f"method in suite {suite.name}", method, suite.methods)
    task_names = _chosen("--tasks", names_in(overrides.tasks, "tasks"), suite.tasks)
    for task in task_names:
        tasks.get_task(task)
    inputs = _inputs(suite)
    for images in inputs:
        augment.check_names(images.augmentation)
    device, threads = device_name("cuda" if overrides.devices else overrides.device), overrides.threads
    seeds = overrides.seeds if overrides.seeds is not None else max([suite.seeds, *suite.seeds_of.values()])
    epochs = overrides.epochs if overrides.epochs is not None else suite.epochs
    longest = max([epochs, *suite.epochs_of.values()])
    widest = (
        max([_threads_or_all(suite.threads, overrides), *suite.threads_of.values()]) if threads is None else threads
    )
    for option, value in (("--seeds", seeds), ("--epochs", longest), ("--threads", widest)):
        if not 1 <= value <= LARGEST:
            raise UserError(f"{option} must be from 1 to {LARGEST:,}, got {value}")
    if not 0 <= overrides.first_seed <= LARGEST:
        raise UserError(f"--first-seed must be from 0 to {LARGEST:,}, got {overrides.first_seed}")
    kind = overrides.loader or suite.loader
    precision = _precision(overrides.precision or suite.precision, device)
    execution = _one_of(Execution, "execution", overrides.execution or suite.execution)
    packing = None if suite.packing is None else str(Packing.parse(suite.packing))
    measured_with = () if suite.yardstick is None else (suite.yardstick,)
    variants = {method: _variants(suite, method, overrides) for method in (*chosen, *measured_with)}
    if not any(overrides.settings.values()):
        for table in TABLES:
            _check_keys(suite, table, variants)
    yardstick = (
        None if suite.yardstick is None else Yardstick(method=suite.yardstick, settings=variants[suite.yardstick][0])
    )
    start = None
    if suite.start is not None:
        begun = settings.canonical(suite.start.method, suite.start.settings)
        start = Start(method=suite.start.method, settings=begun, epochs=suite.start.epochs)
    made = [
        CellSpec(
            method=method,
            settings=variant,
            task=task,
            seed=seed,
            epochs=overrides.epochs or _of(suite, "epochs_of", method, variant) or suite.epochs,
            batch_size=suite.batch_size,
            augmentation=images.augmentation,
            train_samples=suite.train_samples,
            loader=loaders.resolve_kind(
                kind,
                device,
                fits=loaders.fits_on_device(tasks.get_task(task), images.augmentation, suite.resolutions),
            ),
            device=device,
            threads=threads or _of(suite, "threads_of", method, variant) or _threads_or_all(suite.threads, overrides),
            yardstick=yardstick,
            start=start,
            resolutions=suite.resolutions,
            packing=packing,
            resize=images.resize,
            scaling=images.scaling,
            split=suite.split,
            validation_samples=suite.validation_samples,
            augmented_validation=suite.augmented_validation,
            precision=precision,
            execution=execution,
            tuning=_spent(suite, overrides, method),
        )
        for task in task_names
        for seed in range(overrides.first_seed, overrides.first_seed + seeds)
        for method in chosen
        for variant in variants[method]
        for images in inputs
        if overrides.seeds is not None or seed < overrides.first_seed + own_seeds(suite, method, variant)
    ]
    return [describe.described(cell) for cell in with_starts(made)]


def _one_of(choices: Any, what: str, name: str) -> Any:
    """A name, if it is one of a ``Literal`` type's."""
    if name not in get_args(choices):
        raise unknown(what, name, get_args(choices))
    return name


def _precision(name: str, device: str) -> Precision:
    """A precision, if it exists and the device has it."""
    found: Precision = _one_of(Precision, "precision", name)
    if found == "tf32" and device == "cpu":
        raise UserError("precision 'tf32' is one of NVIDIA's GPUs: it needs --device cuda")
    return found


class _Inputs(NamedTuple):
    """What cells see of the task's images."""

    augmentation: tuple[str, ...]
    resize: int | None
    scaling: Scaling


def _inputs(suite: Suite) -> list[_Inputs]:
    """The suite's tables ``inputs``, completed by the suite's own keys."""
    return [
        _Inputs(
            suite.augmentation if table.augmentation is None else table.augmentation,
            table.resize or suite.resize,
            table.scaling or suite.scaling,
        )
        for table in suite.inputs
    ]


def _threads_or_all(threads: int | None, overrides: Overrides) -> int:
    """The number of CPU threads; by default as many as this process may use, shared by cells that run together."""
    # In a container or a batch job, fewer than the machine's processors.
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return threads or max(1, usable // overrides.lanes)


def _spent(suite: Suite, overrides: Overrides, method: str) -> Tuned | None:
    """The tuning budget of a method's settings; None if the command line has changed settings of a study."""
    found = suite.tuning.get(method)
    if found is None or overrides.settings.get(method):
        return None
    return Tuned(study=found.study, trials=found.trials, epochs=found.epochs, seconds=found.seconds)


def check_budgets(suite: Suite, overrides: Overrides = NO_OVERRIDES) -> None:
    """Refuse to compare methods with unequal tuning budgets; settings from the command line count as untuned.

    Raises:
        UserError: if some methods are tuned and others are not, or the tuning epochs or seconds of two of them differ
        by
            more than a tenth.
    """
    methods = names_in(overrides.methods, "methods") or tuple(suite.methods)
    tuned = {method: found for method in methods if (found := _spent(suite, overrides, method)) is not None}
    if not tuned or len(methods) < 2:
        return
    advice = "--unequal-budgets compares them nevertheless"
    untuned = [method for method in methods if method not in tuned]
    if untuned:
        raise UserError(f"suite {suite.name}: {next(iter(tuned))} is tuned and {untuned[0]} is not; {advice}")
    spent = {
        "epochs of tuning": {method: float(each.trials * each.epochs) for method, each in tuned.items()},
        "seconds of tuning": {method: each.seconds for method, each in tuned.items()},
    }
    for what, by_method in spent.items():
        least, most = min(by_method, key=by_method.__getitem__), max(by_method, key=by_method.__getitem__)
        if by_method[most] > (1 + TOLERANCE) * by_method[least]:
            raise UserError(
                f"suite {suite.name}: {by_method[most]:,.0f} {what} for {most}, {by_method[least]:,.0f} for "
                f"{least}, more than {TOLERANCE:.0%} apart; {advice}"
            )


def with_starts(cells: Sequence[CellSpec]) -> list[CellSpec]:
    """The cells, each preceded by the cell of its starting checkpoint."""
    ordered: dict[str, CellSpec] = {}
    for cell in cells:
        for each in filter(None, (cell.begins_with, cell)):
            ordered.setdefault(each.id, each)
    return list(ordered.values())


def _check_keys(suite: Suite, table: Table, variants: dict[str, list[dict[str, Any]]]) -> None:
    """Check that every key of ``epochs_of`` or ``threads_of`` fits a cell of the suite."""
    for key in getattr(suite, table):
        method, conditions = settings.parse_conditions(key)
        if method in variants and not any(_fits(method, variant, conditions) for variant in variants[method]):
            raise UserError(f"{table} {key!r} fits no cell of suite {suite.name}")


def _fits(method: str, variant: dict[str, Any], conditions: dict[str, Any]) -> bool:
    whole = settings.filled(method, variant)
    return all(whole[name] == value for name, value in conditions.items())


def own_seeds(suite: Suite, method: str, variant: dict[str, Any]) -> int:
    """The number of seeds that a suite itself gives a method with some settings."""
    return _of(suite, "seeds_of", method, variant) or suite.seeds


def _of(suite: Suite, table: Table, method: str, variant: dict[str, Any]) -> int | None:
    """The table's number for a method with some settings, from the most specific key; None if no key fits."""
    numbers: dict[str, int] = getattr(suite, table)
    fitting: dict[int, list[str]] = {}
    for key in numbers:
        of_method, conditions = settings.parse_conditions(key)
        if of_method == method and _fits(method, variant, conditions):
            fitting.setdefault(len(conditions), []).append(key)
    if not fitting:
        return None
    closest = fitting[max(fitting)]
    if len(closest) > 1:
        raise UserError(f"{table} {closest[0]!r} and {closest[1]!r} fit the same cell of suite {suite.name}")
    return numbers[closest[0]]


def _variants(suite: Suite, method: str, overrides: Overrides) -> list[dict[str, Any]]:
    """A method's full settings, one per combination that the suite sweeps; overridden settings are not swept."""
    given = {**suite.methods[method], **overrides.settings.get(method, {})}
    variants = []
    for grid in suite.sweep.get(method, ({},)):
        swept = {key: values for key, values in grid.items() if key not in given}
        variants += [
            settings.canonical(method, {**given, **dict(zip(swept, values, strict=True))})
            for values in itertools.product(*swept.values())
        ]
    return [variant for index, variant in enumerate(variants) if variant not in variants[:index]]


def _chosen(option: str, names: tuple[str, ...] | None, default: tuple[str, ...]) -> tuple[str, ...]:
    """The given names, or the default if none were given; each once."""
    if names is not None and not names:
        raise UserError(f"{option} names nothing; leave it out for {', '.join(default)}")
    return tuple(dict.fromkeys(default if names is None else names))


def expected(suite: Suite, methods: tuple[str, ...] | None = None) -> list[tuple[CellSpec, tuple[str, ...]]]:
    """The cells of a suite without overrides, for all or some methods, each with its method's strategies."""
    own = cells(suite, Overrides(threads=1, loader="memory", methods=methods))
    return with_strategies(own)


def with_strategies(specs: Sequence[CellSpec]) -> list[tuple[CellSpec, tuple[str, ...]]]:
    """Cells, each with the strategies of its learner."""
    return [(spec, contract.strategies(spec.method, spec.settings)) for spec in specs]
