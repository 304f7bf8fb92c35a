"""A suite file: TOML, validated completely before anything runs."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, MinLen
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from bench.errors import UserError, unknown
from bench.records.cells import Execution, Precision, Scaling, Split

SHIPPED = Path(__file__).parent


Grid = dict[str, Annotated[list[Any], MinLen(1)]]
"""Values to try, by setting."""


def _as_several(grids: Any) -> Any:
    """Wrap a single table into a list."""
    return [grids] if isinstance(grids, dict) else grids


class StartTable(BaseModel):
    """The table ``start`` of a suite file; missing settings have the method's defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    settings: dict[str, Any] = {}
    epochs: Annotated[int, Ge(1)]


class TuningTable(BaseModel):
    """Origin of a method's tuned settings, as written by `bench tune export`.

    Attributes:
        study, trial, seeds, validation: the best trial, and its validation accuracies (per cent) by seed.
        trials, epochs, seconds: the budget: number of trials, epochs of each, and seconds in total.
        commit, exported: commit of the code that wrote this, and time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    study: str
    trial: int
    seeds: tuple[int, ...]
    validation: tuple[float, ...]
    trials: Annotated[int, Ge(1)]
    epochs: Annotated[int, Ge(1)]
    seconds: Annotated[float, Ge(0)]
    commit: str
    exported: str


class InputTable(BaseModel):
    """One of a suite's tables ``inputs``: other images than the suite's; what is left out is as in the suite."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    augmentation: tuple[str, ...] | None = None
    resize: Annotated[int, Ge(8)] | None = None
    scaling: Scaling | None = None


class Suite(BaseModel):
    """A named set of cells: every method on every task with every seed.

    Attributes:
        name: the file's name.
        description: one line for ``bench list``.
        methods: settings by method key; an empty table takes the method's defaults.
        sweep: by method key, values to try for some settings: the method runs with every combination of them. Several
            such tables, ``[[sweep.METHOD]]``, are tried one after the other.
        tasks: task keys.
        seeds: number of seeds, from 0.
        seeds_of: seeds of a method, or of its cells with some settings, keyed as ``epochs_of``.
        epochs, batch_size: equal for all methods, unless ``epochs_of`` says otherwise.
        epochs_of: epochs of a method, or of its cells with some settings, keyed by their labels in tables: "cwc", or
            "local-error signal=pred"; of several keys that fit a cell, the longest counts.
        augmentation: names of ``bench.data.batches.augment``, in order of application; equal for all methods.
        train_samples: number of training images, stratified by class; default: all.
        start: starting checkpoint of every cell: a method and settings, trained on the same data with the same seed for
            ``epochs`` epochs. It runs first, as a cell of its own.
        tuning: by method key, the study and the tuning budget of its settings.
        yardstick: the method that speeds are relative to; if it is swept, its first variant.
        threads: CPU threads, unless the command line says otherwise; default: all. One is slower, but equal everywhere.
        threads_of: threads of a method, or of its cells with some settings, keyed as ``epochs_of``.
        loader: "auto" (see ``bench.data.loaders.resolve_kind``), "memory", "ffcv", "device" or "torch".
        resolutions: pairs of an epoch, counted from 1, and the side of the square training images from then on;
            default: the task's size. Evaluation always uses the task's size.
        packing: how the FFCV loader stores image files: "raw", "jpeg", "jpeg,share=0.5,quality=90,side=400"; default:
            their original bytes.
        resize: side of the images, in pixels, of tasks that are arrays; default: their own.
        scaling: "standard" (by the task's mean and deviation), "unit" (pixels in [0, 1]) or "rms" (every image divided
            by the root mean square of its pixels).
        inputs: tables of ``augmentation``, ``resize`` and ``scaling``: every method runs with each of them in turn.
        split: validation samples are drawn "stratified" by class, or "random" from all.
        validation_samples: number of training images held back for validation; default: the task's.
        augmented_validation: augment validation images too.
        precision: "float32", "tf32" or "bf16", see ``bench.measure.precision``.
        execution: "eager" or "compiled", see ``bench.methods.Compilable``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: str = ""
    methods: Annotated[dict[str, dict[str, Any]], MinLen(1)]
    sweep: dict[str, Annotated[tuple[Grid, ...], MinLen(1), BeforeValidator(_as_several)]] = {}
    tasks: Annotated[tuple[str, ...], MinLen(1)]
    seeds: Annotated[int, Ge(1)] = 1
    seeds_of: dict[str, Annotated[int, Ge(1)]] = {}
    epochs: Annotated[int, Ge(1)]
    epochs_of: dict[str, Annotated[int, Ge(1)]] = {}
    batch_size: Annotated[int, Ge(1)] = 128
    augmentation: tuple[str, ...] = ()
    train_samples: Annotated[int, Ge(1)] | None = None
    start: StartTable | None = None
    tuning: dict[str, TuningTable] = {}
    yardstick: str | None = None
    threads: Annotated[int, Ge(1)] | None = None
    threads_of: dict[str, Annotated[int, Ge(1)]] = {}
    loader: str = "auto"
    resolutions: tuple[tuple[Annotated[int, Ge(1)], Annotated[int, Ge(8)]], ...] | None = None
    packing: str | None = None
    resize: Annotated[int, Ge(8)] | None = None
    scaling: Scaling = "standard"
    inputs: Annotated[tuple[InputTable, ...], MinLen(1)] = (InputTable(),)
    split: Split = "stratified"
    validation_samples: Annotated[int, Ge(1)] | None = None
    augmented_validation: bool = False
    precision: Precision = "float32"
    execution: Execution = "eager"

    @model_validator(mode="after")
    def _sweep_is_of_its_methods(self) -> Suite:
        for method, grids in self.sweep.items():
            if method not in self.methods:
                raise ValueError(f"sweep of {method!r}, which is not one of its methods ({', '.join(self.methods)})")
            both = sorted({key for grid in grids for key in grid} & set(self.methods[method]))
            if both:
                raise ValueError(f"{method}.{both[0]} is both set and swept")
        return self

    @model_validator(mode="after")
    def _keys_are_of_its_methods(self) -> Suite:
        tables = {"epochs_of": self.epochs_of, "seeds_of": self.seeds_of, "threads_of": self.threads_of}
        for table, keys in tables.items():
            for key in keys:
                method, _, conditions = key.strip().partition(" ")
                if method not in self.methods:
                    known = ", ".join(self.methods)
                    raise ValueError(f"{table} {key!r}: {method!r} is not one of its methods ({known})")
                if conditions and "=" not in conditions.split()[0]:
                    raise ValueError(f"{table} {key!r} is not of the form 'METHOD KEY=VALUE ...'")
        return self

    @model_validator(mode="after")
    def _resolutions_ascend(self) -> Suite:
        epochs = [epoch for epoch, _ in self.resolutions or ()]
        if self.resolutions == () or epochs != sorted(set(epochs)):
            raise ValueError("resolutions are pairs of an epoch and a side, with ascending epochs, and not empty")
        return self

    @model_validator(mode="after")
    def _yardstick_is_a_method(self) -> Suite:
        if self.yardstick is not None and self.yardstick not in self.methods:
            raise ValueError(f"yardstick {self.yardstick!r} is not one of its methods ({', '.join(self.methods)})")
        return self


def names() -> list[str]:
    """The names of the suites that come with this package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def load(name: str) -> Suite:
    """Load a suite by name, or from a TOML file by path.

    Raises:
        UserError: if there is no such suite or file, or if the file is not a valid suite.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise UserError(f"suite file {name!r} does not exist")
    elif name in names():
        path = SHIPPED / f"{name}.toml"
    else:
        raise unknown("suite", name, names())
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # TOML, its encoding, or a number of thousands of digits
        raise UserError(f"suite file {path} is not valid TOML: {error}") from error
    except RecursionError:
        raise UserError(f"suite file {path} has lists or tables nested too deeply") from None
    try:
        return Suite.model_validate({**content, "name": path.stem})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in _as_written(first["loc"], content))
        if first["type"] == "extra_forbidden":
            raise UserError(f"suite file {path}: {unknown('key', key, set(Suite.model_fields) - {'name'})}") from None
        raise UserError(f"suite file {path}: {key or 'it'} is not valid: {first['msg']}") from None


def _as_written(location: tuple[int | str, ...], content: dict[str, Any]) -> tuple[int | str, ...]:
    """The location of an error, without the index of a sweep's table if the file has only one."""
    if location[:1] == ("sweep",) and len(location) > 2 and isinstance(content["sweep"].get(location[1]), dict):
        return location[:2] + location[3:]
    return location
