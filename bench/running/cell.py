"""A cell, from its spec to its record: trained, tested and measured.

``bench.running.process`` is the process around it; what is here and what it imports makes the numbers.
"""

from __future__ import annotations

import datetime as dt
import errno
import traceback
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import torch

from bench import records
from bench.data import loaders
from bench.errors import UserError
from bench.measure import clock, energy, environment, layers, probe, work
from bench.measure.determinism import deterministic
from bench.measure.precision import computing
from bench.methods import Learner
from bench.records import CellOptions, CellSpec, Record, StrategyRecord, TrainingRecord, WorkRecord
from bench.running import evaluation, parts, training

OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
"""Errors that would also prevent writing a record; the user can fix the cause, then the cell resumes."""


def run(spec: CellSpec, folder: Path, options: CellOptions, progress: evaluation.Progress) -> Record:
    """Run or resume a cell, with its checkpoints in ``folder``; training failures become a status of its record.

    Raises:
        UserError: if the data is not available, a checkpoint is damaged, or the starting checkpoint is missing.
        OSError: if the disk is full or cannot be used.
    """
    device = torch.device(spec.device)
    status: records.Status = "ok"
    error: str | None = None
    code = environment.code(spec)
    measured = _Measured(training.History(writer=environment.here(spec)))
    here = environment.environment(device)
    try:
        with deterministic(device) as measured.nondeterministic, computing(spec.precision, device):
            here = environment.environment(device)
            _measure(spec, folder, options, device, measured, progress)
    except training.Diverged as reason:
        status, error = "diverged", str(reason)
    except (UserError, BrokenPipeError):
        raise
    except Exception as reason:
        if isinstance(reason, OSError) and reason.errno in OF_THE_DISK:
            raise
        traceback.print_exc()
        status, error = "failed", _in_words(reason)
    return Record(
        id=spec.id,
        cell=spec,
        suite=options.suite,
        overrides=options.overrides,
        status=status,
        error=error,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        code=code,
        environment=here,
        epochs=measured.history.epochs,
        opening_losses=measured.history.opening if status == "ok" else {},
        inputs=measured.history.inputs if status == "ok" else {},
        nondeterministic=measured.nondeterministic,
        layer_values=measured.layer_values,
        work=measured.work,
        training=measured.training,
        strategies=measured.strategies,
    )


def _in_words(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        return f"out of memory: {_first_line(error)}"
    return f"{type(error).__name__}: {error}"


@dataclass
class _Measured:
    """Results of training and measuring so far."""

    history: training.History
    nondeterministic: list[str] = field(default_factory=list)
    layer_values: dict[str, list[list[float]]] = field(default_factory=dict)
    work: WorkRecord | None = None
    training: TrainingRecord | None = None
    strategies: list[StrategyRecord] = field(default_factory=list)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _measure(
    spec: CellSpec,
    folder: Path,
    options: CellOptions,
    device: torch.device,
    measured: _Measured,
    progress: evaluation.Progress,
) -> None:
    """Train, test and probe, filling ``measured`` step by step."""
    progress({"event": "data"})
    with parts.data(spec, options.data_dir, lambda *_: progress({"event": "data"})) as data:
        steps = len(data.train)
        plain = spec.model_copy(update={"execution": "eager"})  # counts are those of operations one by one
        learner, generator = parts.learner(spec, steps)
        if spec.begins_with is not None:
            learned = folder.parent / spec.begins_with.id / records.LEARNED_FILE
            parts.begin(learner, spec, training.load_state(learned, device)["learner"])
        training.train(
            learner,
            data.train,
            data.validation,
            epochs=spec.epochs,
            generator=generator,
            device=device,
            folder=folder,
            history=measured.history,
            progress=progress,
            twin=lambda: parts.learner(plain, steps)[0],
        )
        measured.layer_values = layers.values(learner, data.validation.epoch(0))
        progress({"event": "test"})
        measured.work = work.executed(learner, data.test.epoch(0))
        measured.strategies = _test(learner, data.test, measured.history, folder, options, device, progress)
        progress({"event": "probe"})
        batch = training.cached_batch(data.train)
        beat = _heartbeat(progress)
        probed = probe.training(
            parts.learner(plain, steps)[0],
            *batch,
            None if options.rough else _yardstick(spec, steps),
            beat,
            timed=None if spec == plain else parts.learner(spec, steps)[0],
            epochs=spec.epochs,
            rough=options.rough,
        )
        measured.training = _training_record(measured.history, probed, device)


def _yardstick(spec: CellSpec, steps_per_epoch: int) -> probe.Yardstick | None:
    other = parts.yardstick(spec)
    if other is None:
        return None
    one, two = (parts.learner(other, steps_per_epoch)[0] for _ in range(2))
    return probe.Yardstick(other.method, one, two)


def _heartbeat(progress: evaluation.Progress) -> probe.Heartbeat:
    """A sign of life, for measurements that take long."""
    return lambda: progress({"event": "probe"})


def _training_record(history: training.History, probed: probe.TrainingProbe, device: torch.device) -> TrainingRecord:
    epochs = history.epochs
    rate = clock.rate(
        [epoch.images for epoch in epochs],
        [epoch.seconds for epoch in epochs],
        [epoch.noise.noisy for epoch in epochs],
    )
    joules = [epoch.energy_joules for epoch in epochs if epoch.energy_joules is not None]
    whole = len(joules) == len(epochs)
    return TrainingRecord(
        seconds=sum(epoch.seconds for epoch in epochs),
        first_batch_seconds=history.first_batch_seconds,
        images_per_second=rate.median,
        images_per_second_minimum=rate.minimum,
        images_per_second_iqr=rate.iqr,
        peak_rss_bytes=epochs[0].peak_bytes,
        peak_reserved_bytes=epochs[0].peak_reserved_bytes,
        energy_joules=sum(joules) if whole else None,
        energy_note=None if whole else energy.counter(device).note or "the counter was not available in every epoch",
        noisy=rate.noisy or probed.noisy,
        **{column.name: getattr(probed, column.name) for column in fields(probed) if column.name != "noisy"},
    )


def _test(
    learner: Learner,
    loader: loaders.Loader,
    history: training.History,
    folder: Path,
    options: CellOptions,
    device: torch.device,
    progress: evaluation.Progress,
) -> list[StrategyRecord]:
    """Test accuracies of the last epoch, and of the epoch with the best validation accuracy.

    Leaves the learner in the state that was tested last.
    """
    history.inputs["test"] = loader.digest
    last = evaluation.accuracies(learner, learner.strategies, loader, progress)
    images, _ = training.cached_batch(loader)
    probed = {
        strategy: probe.prediction(learner, strategy, images, _heartbeat(progress), rough=options.rough)
        for strategy in learner.strategies
    }
    best = dict(last)
    for strategy, epoch in history.best_epoch.items():
        if epoch != len(history.epochs):
            learner.load_state_dict(training.load_state(training.best_file(folder, strategy), device))
            best |= evaluation.accuracies(learner, [strategy], loader, progress)
    return [
        StrategyRecord(
            strategy=strategy,
            accuracy=last[strategy].top1,
            top5=last[strategy].top5,
            best_validation_epoch=history.best_epoch[strategy],
            accuracy_at_best_validation=best[strategy].top1,
            samples=loader.samples,
            **asdict(probed[strategy]),
        )
        for strategy in learner.strategies
    ]
