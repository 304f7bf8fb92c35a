"""One cell in its own process: ``python -m bench.cell FOLDER``.

The folder holds ``cell.json``. The process prints one JSON object per line to standard output while it runs, leaves
``record.json`` and exits with 0; whatever goes wrong in training is a status in the record, not a traceback.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import filelock
import torch

from bench import methods, records, settings, training
from bench.data import loaders, seeds, splits, tasks
from bench.errors import ExitStatus, UserError
from bench.measure import clock, environment, probe
from bench.measure.energy import EnergyCounter
from bench.measure.memory import PeakMemory
from bench.methods import Learner
from bench.records import CellSpec, Record, StrategyRecord, TrainingRecord

EVALUATION_BATCH = 500
LOCK_FILE = ".lock"


def run(folder: Path, *, suite: str, data_dir: Path | None, progress: training.Progress) -> Record:
    """Run or go on with the cell in ``folder`` and write its record.

    Raises:
        UserError: if the data cannot be had, or another process runs this cell.
    """
    spec = records.read_cell(folder / records.CELL_FILE)
    device = torch.device(spec.device)
    lock = filelock.FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=2)
    except filelock.Timeout:
        raise UserError(f"cell {spec.id} is being run by another process (lock {folder / LOCK_FILE})") from None
    try:
        torch.set_num_threads(spec.threads)
        record = _outcome(spec, folder, suite, data_dir, device, progress)
        records.write(folder / records.RECORD_FILE, record)
        for leftover in folder.glob("*.pt"):
            leftover.unlink()
        return record
    finally:
        lock.release()


def _outcome(
    spec: CellSpec, folder: Path, suite: str, data_dir: Path | None, device: torch.device, progress: training.Progress
) -> Record:
    """The record of a cell, whatever became of it."""
    status: records.Status = "ok"
    error: str | None = None
    measured = _Measured()
    try:
        measured = _measure(spec, folder, data_dir, device, progress)
    except training.Diverged as reason:
        status, error = "diverged", str(reason)
    except (UserError, BrokenPipeError):
        raise
    except torch.OutOfMemoryError as reason:
        status, error = "failed", f"out of memory: {reason}"
    except Exception as reason:  # noqa: BLE001 -- a plug-in may raise anything; the other cells must still run
        traceback.print_exc()
        status, error = "failed", f"{type(reason).__name__}: {reason}"
    return Record(
        id=spec.id,
        cell=spec,
        suite=suite,
        status=status,
        error=error,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        code=environment.code(),
        environment=environment.environment(device),
        epochs=measured.epochs,
        opening_losses=measured.opening,
        training=measured.training,
        strategies=measured.strategies,
    )


class _Measured:
    """What training and measuring gave."""

    def __init__(self) -> None:
        self.epochs: list[records.EpochRecord] = []
        self.opening: dict[str, list[float]] = {}
        self.training: TrainingRecord | None = None
        self.strategies: list[StrategyRecord] = []


class Budget:
    """See ``asge.types.TrainingBudget``."""

    def __init__(self, epochs: int, steps_per_epoch: int) -> None:
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch


def build_learner(spec: CellSpec, steps_per_epoch: int) -> tuple[Learner, torch.Generator]:
    """A learner before its first step, and the generator of its randomness.

    Raises:
        UserError: where settings and task do not fit.
    """
    generator = seeds.generator(spec.seed, "learner")
    try:
        learner = methods.get(spec.method).build(
            tasks.get_task(spec.task),
            settings.make(spec.method, spec.settings),
            Budget(spec.epochs, steps_per_epoch),
            torch.device(spec.device),
            generator,
        )
    except ValueError as error:
        raise UserError(f"{spec.method} cannot be built for {spec.task}: {error}") from error
    return learner, generator


def _measure(
    spec: CellSpec, folder: Path, data_dir: Path | None, device: torch.device, progress: training.Progress
) -> _Measured:
    task = tasks.get_task(spec.task)
    progress({"event": "data"})
    parts = splits.split(task, task.read(data_dir), train_limit=spec.train_samples)

    def evaluation(part: splits.Split) -> loaders.Loader:
        return loaders.make_loader(
            spec.loader, task, part, batch_size=EVALUATION_BATCH, seed=spec.seed, shuffle=False,
            augmentation=(), device=device,
        )  # fmt: skip

    train_loader = loaders.make_loader(
        spec.loader, task, parts.train, batch_size=spec.batch_size, seed=spec.seed, shuffle=True,
        augmentation=spec.augmentation, device=device,
    )  # fmt: skip
    validation_loader, test_loader = evaluation(parts.validation), evaluation(parts.test)
    learner, generator = build_learner(spec, len(train_loader))

    energy = EnergyCounter()
    peak = PeakMemory(device)
    history = training.train(
        learner, train_loader, validation_loader,
        epochs=spec.epochs, generator=generator, device=device, folder=folder, progress=progress,
    )  # fmt: skip
    peak_bytes, reserved_bytes, joules = peak.peak(), peak.reserved(), energy.joules()

    progress({"event": "test"})
    measured = _Measured()
    measured.epochs, measured.opening = history.epochs, history.opening
    measured.strategies = _test(learner, test_loader, history, folder, device)
    images, labels = training.cached_batch(train_loader)
    trial, _ = build_learner(spec, len(train_loader))
    probed = probe.training(trial, images, labels)
    rate = clock.rate([epoch.images for epoch in history.epochs], [epoch.seconds for epoch in history.epochs])
    measured.training = TrainingRecord(
        seconds=sum(epoch.seconds for epoch in history.epochs),
        first_batch_seconds=history.first_batch_seconds,
        images_per_second=rate.median,
        images_per_second_minimum=rate.minimum,
        images_per_second_iqr=rate.iqr,
        peak_rss_bytes=peak_bytes,
        peak_reserved_bytes=reserved_bytes,
        energy_joules=joules,
        energy_note=energy.note,
        noisy=any(epoch.noise.noisy for epoch in history.epochs),
        **asdict(probed),
    )
    for loader in (train_loader, validation_loader, test_loader):
        loader.close()
    return measured


def _test(
    learner: Learner, loader: loaders.Loader, history: training.History, folder: Path, device: torch.device
) -> list[StrategyRecord]:
    """Test accuracies: of the last epoch, and of the epoch that was best on validation data.

    Leaves the learner in whichever state was tested last.
    """
    last = training.accuracies(training.strategy_predictors(learner), loader)
    images, _ = training.cached_batch(loader)
    probed = {strategy: probe.prediction(learner, strategy, images) for strategy in learner.strategies}
    best = dict(last)
    for strategy, epoch in history.best_epoch.items():
        if epoch != len(history.epochs):
            learner.load_state_dict(training.load_state(training.best_file(folder, strategy), device))
            predictor = training.strategy_predictors(learner)[strategy]
            best[strategy] = training.accuracies({strategy: predictor}, loader)[strategy]
    return [
        StrategyRecord(
            strategy=strategy,
            accuracy=last[strategy],
            best_validation_epoch=history.best_epoch[strategy],
            accuracy_at_best_validation=best[strategy],
            samples=loader.samples,
            **asdict(probed[strategy]),
        )
        for strategy in learner.strategies
    ]


def _print_event(event: dict[str, Any]) -> None:
    """One JSON line; if nobody reads any more, the harness is gone and this process ends."""
    print(json.dumps(event), flush=True)


def main(arguments: list[str]) -> int:
    """Run the cell in the folder named first; the second argument is the suite, the third the data folder or ''."""
    folder, suite, data_dir = Path(arguments[0]), arguments[1], arguments[2]
    try:
        record = run(folder, suite=suite, data_dir=Path(data_dir) if data_dir else None, progress=_print_event)
    except UserError as error:
        _print_event({"event": "bad-input", "message": str(error)})
        return ExitStatus.BAD_INPUT
    except BrokenPipeError:
        return ExitStatus.CELL_FAILED
    _print_event({"event": "done", "status": record.status, "error": record.error})
    return ExitStatus.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
