"""The epoch loop: train, validate, save a checkpoint, resume."""

from __future__ import annotations

import copy
import io
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from bench.data.loaders import Loader
from bench.errors import UserError
from bench.measure import layers
from bench.measure.meters import Meters
from bench.methods import ChoosesLayer, Learner, Observable
from bench.records import STATE_FILE, EpochRecord
from bench.running import evaluation
from bench.running.evaluation import PROGRESS_SECONDS, Progress

OPENING_STEPS = 20
"""Number of first training steps whose losses are recorded one by one."""
EXPLODED = 1e4
"""A mean loss this many times its first batch's value (or 1, if larger) counts as diverged."""


class Diverged(Exception):  # noqa: N818 -- an outcome of an experiment, not an error of the program
    """A loss is not finite, or has exploded."""


@dataclass
class History:
    """State of a training after some epochs; saved with the learner.

    Attributes:
        epochs: one record per finished epoch.
        opening: losses of the first steps of training, by name.
        first_batch_seconds: from requesting the first batch to the end of its step; not part of any epoch's seconds.
        inputs: digests of the training and validation data; not saved, since a resumed run computes them too.
        best_epoch: by strategy, the epoch (from 1) with the best validation accuracy; the earliest in a tie.
        writer: the code that trains; only that code resumes from a checkpoint.
    """

    epochs: list[EpochRecord] = field(default_factory=list)
    opening: dict[str, list[float]] = field(default_factory=dict)
    first_batch_seconds: float = 0.0
    best_epoch: dict[str, int] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    writer: str = ""


def train(
    learner: Learner,
    train_loader: Loader,
    validation_loader: Loader,
    *,
    epochs: int,
    generator: torch.Generator,
    device: torch.device,
    folder: Path,
    history: History,
    progress: Progress,
    twin: Callable[[], Learner] | None = None,
) -> None:
    """Train up to ``epochs`` epochs in total, resuming from a checkpoint in ``folder``.

    After every epoch the folder has the complete state, so that a killed run, started again, ends with the same numbers
    as an uninterrupted one. The learner's best state by strategy is saved next to it.

    Args:
        learner: to be trained.
        train_loader: gives the batches of an epoch.
        validation_loader: gives the batches that choices are made on.
        epochs: in total, including those of an earlier process.
        generator: the learner's source of randomness, saved with it.
        device: the learner's device.
        folder: folder of the checkpoint.
        history: an empty one, filled during training, so that it is available however training ends.
        progress: called with steps and epochs.
        twin: builds another learner like this one, on which layers are measured; None: layers are not measured.

    Raises:
        Diverged: if a loss is not finite or has exploded; names epoch and loss.
        UserError: if a checkpoint is damaged.
    """
    history.inputs = {"train": train_loader.digest, "validation": validation_loader.digest}
    _resume(learner, generator, history, folder, device)
    import_module("torch._dynamo")  # otherwise PyTorch's first optimiser imports it, within the measurement
    meters = Meters(device)
    first = len(history.epochs)
    watched: Learner | None = None
    batch: tuple[Tensor, Tensor] | None = None
    for epoch in range(first, epochs):
        record = _train_epoch(learner, train_loader, epoch, history, meters, progress, first_of_process=epoch == first)
        history.epochs.append(record)
        _validate(learner, validation_loader, history, folder, progress)
        if twin is not None and isinstance(learner, Observable):
            watched, batch = watched or twin(), batch or cached_batch(train_loader)
            _watch(learner, watched, batch, history)
        _save(learner, generator, history, folder)
        progress({"event": "epoch", **history.epochs[-1].model_dump()})


def best_file(folder: Path, strategy: str) -> Path:
    """The file of the learner's state at its best validation epoch, while the cell runs."""
    return folder / f"best-{strategy}.pt"


def load_state(path: Path, device: torch.device) -> dict[str, Any]:
    """Load a saved state; reads only tensors, numbers, strings and containers of them.

    Raises:
        UserError: if the file does not exist or is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run its cell again") from None
    except (RuntimeError, EOFError, UnpicklingError) as error:
        raise UserError(f"{path} is damaged and cannot be resumed from; delete it to start the cell again") from error
    return state


def _train_epoch(
    learner: Learner,
    loader: Loader,
    epoch: int,
    history: History,
    meters: Meters,
    progress: Progress,
    *,
    first_of_process: bool,
) -> EpochRecord:
    learner.begin_epoch(epoch)
    totals: dict[str, Tensor] = {}
    opening: list[dict[str, Tensor]] = []
    images_timed, steps = 0, 0
    reported = start = meters.start()
    for images, labels in loader.epoch(epoch):
        losses = learner.train_step(images, labels)
        for name, loss in losses.items():
            totals[name] = totals[name] + loss if name in totals else loss.clone()
        if epoch == 0 and steps < OPENING_STEPS:
            opening.append(losses)
        images_timed += len(labels)
        steps += 1
        if first_of_process and steps == 1:
            history.first_batch_seconds = history.first_batch_seconds or meters.elapsed()
            if len(loader) > 1:
                # Compilation, first allocations, cold caches: timed separately, unless there is nothing else.
                images_timed, start = 0, meters.restart_clock()
        if time.perf_counter() - reported > PROGRESS_SECONDS:
            reported = time.perf_counter()
            done = {"images": images_timed, "seconds": reported - start, "epochs_done": epoch + steps / len(loader)}
            progress({"event": "step", "epoch": epoch + 1, **done})
    reading = meters.read()
    if epoch == 0:
        history.opening = {name: [float(step[name]) for step in opening] for name in opening[0]}
    means = {name: float(total) / steps for name, total in totals.items()}
    _check_finite(means, history.opening, epoch)
    return EpochRecord(epoch=epoch + 1, images=images_timed, losses=means, validation={}, layers=None, **vars(reading))


def _check_finite(means: dict[str, float], opening: dict[str, list[float]], epoch: int) -> None:
    for name, mean in means.items():
        first = opening.get(name, [1.0])[0]
        if not math.isfinite(mean) or not math.isfinite(first) or abs(mean) > EXPLODED * max(1.0, abs(first)):
            raise Diverged(f"loss {name!r} is {mean:.3g} on average in epoch {epoch + 1} (first batch: {first:.3g})")


def _validate(learner: Learner, loader: Loader, history: History, folder: Path, progress: Progress) -> None:
    """Let the learner choose, add the validation accuracies of the last epoch, save a strategy's state at its best."""
    record = history.epochs[-1]
    if not isinstance(learner, ChoosesLayer):
        learner.finish(loader.epoch(0))
    seen = evaluation.evaluate(learner, loader, progress)
    strategies = dict(seen.strategies)
    if isinstance(learner, ChoosesLayer):
        strategies |= learner.choose_layer(seen.layers or [])
    found = {
        "validation": strategies,
        "layers": seen.layers,
        "layer_goodness": seen.goodness,
        "layer_means": layers.means(layers.values(learner, loader.epoch(0))),
    }
    history.epochs[-1] = record.model_copy(update=found)
    for strategy, accuracy in strategies.items():
        best = history.best_epoch.get(strategy)
        if best is None or accuracy > history.epochs[best - 1].validation[strategy]:
            history.best_epoch[strategy] = record.epoch
            save_atomically(learner.state_dict(), best_file(folder, strategy))


def _watch(learner: Learner, twin: Learner, batch: tuple[Tensor, Tensor], history: History) -> None:
    """Measure time and memory of each layer in its current state, on another learner: this one must stay unchanged."""
    epoch = history.epochs[-1].epoch
    twin.load_state_dict(copy.deepcopy(learner.state_dict()))
    twin.begin_epoch(epoch - 1)
    seen = layers.costs(twin, *batch)
    if seen is not None:
        found = {"layer_seconds": seen.seconds, "layer_live_bytes": seen.live_bytes}
        history.epochs[-1] = history.epochs[-1].model_copy(update=found)


def save_atomically(state: Any, path: Path) -> None:
    """Save a state under a temporary name, then rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # First in memory: a disk error then reaches the caller unwrapped by the serialiser.
        content = io.BytesIO()
        torch.save(state, content)
        with temporary.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _save(learner: Learner, generator: torch.Generator, history: History, folder: Path) -> None:
    state = {
        "writer": history.writer,
        "learner": learner.state_dict(),
        "generator": generator.get_state(),
        "epochs": [epoch.model_dump_json() for epoch in history.epochs],
        "opening": history.opening,
        "first_batch_seconds": history.first_batch_seconds,
        "best_epoch": history.best_epoch,
    }
    save_atomically(state, folder / STATE_FILE)


def _resume(learner: Learner, generator: torch.Generator, history: History, folder: Path, device: torch.device) -> None:
    path = folder / STATE_FILE
    if not path.exists():
        return
    state = load_state(path, device)
    if state.get("writer") != history.writer:
        print(f"{path} was written by other code; starting from the first epoch", file=sys.stderr)
        return
    learner.load_state_dict(state["learner"])
    generator.set_state(state["generator"].cpu())
    history.epochs = [EpochRecord.model_validate_json(text) for text in state["epochs"]]
    history.opening = state["opening"]
    history.first_batch_seconds = state["first_batch_seconds"]
    history.best_epoch = state["best_epoch"]


def cached_batch(loader: Loader) -> tuple[Tensor, Tensor]:
    """The first batch of the first epoch, cached."""
    batches: Iterator[tuple[Tensor, Tensor]] = loader.epoch(0)
    images, labels = next(batches)
    return images.clone(), labels.clone()
