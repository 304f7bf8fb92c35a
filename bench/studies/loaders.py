"""Speed of loaders relative to PyTorch's DataLoader, and how long training waits for them.

Loaders take turns: each starts an epoch, gives its first batch untimed, and then gives batches for a while. Batches
that a loader's workers prepared between turns count for it, which favours PyTorch's by a few per cent.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import torch
from torch import Tensor

from bench import suites
from bench.data import loaders
from bench.data.loaders import Loader
from bench.data.sets import sources, splits, tasks
from bench.data.sets.splits import Split
from bench.measure.memory import PeakMemory
from bench.measure.noise import NoiseMeter
from bench.measure.race import Race
from bench.records import CellSpec
from bench.running import parts
from bench.studies.study import Findings, Request, Study

mpl.use("Agg")

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

ROUNDS = 5
TURN_SECONDS = 0.6
WAIT_SECONDS = 2.0
BATCH = 128
CPU = torch.device("cpu")
OF_ARRAYS: tuple[tuple[str, ...], ...] = ((), ("crop", "flip"), ("resized-crop", "flip"))
OF_FILES: tuple[tuple[str, ...], ...] = ((), ("resized-crop", "flip"))
WAIT_GOAL = 2.0
"""Per cent of a training step that may be spent waiting for data."""


@dataclass
class Contestant:
    """A loader and its measurements.

    Attributes:
        start_seconds: from creation to its first batch, including the import of FFCV and the writing of its file.
        memory: bytes that it needed, including its worker processes.
    """

    kind: str
    workers: int | None
    loader: Loader
    start_seconds: float
    memory: int | None


def measure(request: Request) -> Findings:
    """Measure images per second by loader, augmentation and number of workers, and waiting times of training."""
    task = tasks.get_task(request.task or "cifar10")
    arrays = task.read(request.data_dir)
    limit = min(request.samples, len(arrays.train_labels) - task.validation_size)
    part = splits.split(task, arrays, train_limit=limit).train
    rows: list[list[str | int | float]] = []
    noisy = False
    for augmentation in OF_ARRAYS if isinstance(part.images, Tensor) else OF_FILES:
        with ExitStack() as stack:
            field_ = [stack.enter_context(_StartedLoader(task, part, augmentation, *which)) for which in contestants()]
            race = take_turns([one.loader for one in field_])
            noisy |= race.noisy
            base = next(index for index, one in reversed(list(enumerate(field_))) if one.kind == "torch")
            for index, one in enumerate(field_):
                ratio, spread = race.ratio(index, base)
                rows.append(
                    [
                        one.kind,
                        one.workers or "-",
                        "+".join(augmentation) or "none",
                        round(race.rate(index)),
                        round(ratio, 2),
                        round(spread, 2),
                        round(one.start_seconds, 2),
                        "-" if one.memory is None else round(one.memory / 2**20),
                    ]
                )
    columns = ("loader", "workers", "augmentation", "img/s", "x torch", "± x torch", "start s", "memory MiB")
    notes = [
        f"{limit} training images of {task.title}, batches of {BATCH}, threads: {torch.get_num_threads()}",
        "x torch: relative to the last line of its augmentation, in turns; ± is the interquartile range",
        "the two memory loaders are equal: their ratio is the noise",
        "start: from creation to the first batch, with the import of FFCV and the writing of its file if it was new",
        "memory: of the loader and its workers, without images that are already in memory",
        *(["the machine was busy: rates are noisy"] if noisy else []),
        *(line for line in waits(task.name, request.data_dir)),
    ]
    frame = pd.DataFrame(rows, columns=list(columns))
    return Findings(task.name, columns, rows, notes, {"loaders": partial(_chart, frame, task.title)})


STUDY = Study(
    "Images per second of every loader relative to PyTorch's DataLoader, and how long training waits for data",
    measure,
    samples=20_000,
)


def contestants() -> list[tuple[str, int | None]]:
    """Kinds of loaders and numbers of workers; last, torch with as many workers as processors."""
    many = max(2, os.cpu_count() or 1)
    of_ffcv: list[tuple[str, int | None]] = [("ffcv", 1), ("ffcv", many)] if loaders.is_installed() else []
    return [("memory", None), ("memory", None), *of_ffcv, ("torch", 1), ("torch", many)]


class _StartedLoader(closing[Any]):
    """A contestant that has given its first batch; closes its loader at the end."""

    def __init__(
        self, task: tasks.Task, part: Split, augmentation: Sequence[str], kind: str, workers: int | None
    ) -> None:
        memory, start = PeakMemory(CPU), time.perf_counter()
        loader = loaders.make_loader(
            kind,
            task,
            part,
            batch_size=BATCH,
            seed=0,
            shuffle=True,
            augmentation=augmentation,
            device=CPU,
            workers=workers,
        )
        super().__init__(loader)
        epoch = loader.epoch(0)
        next(epoch)
        seconds = time.perf_counter() - start
        for _, _ in zip(range(10), epoch, strict=False):
            pass
        children = sum(map(_private_bytes, multiprocessing.active_children()))
        peak = memory.peak()
        _close(epoch)
        self._made = Contestant(kind, workers, loader, seconds, None if peak is None else peak + children)

    def __enter__(self) -> Contestant:
        return self._made


def _private_bytes(process: Any) -> int:
    """Private memory of a process, in bytes: not shared with its parent."""
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def _close(epoch: Iterator[Any]) -> None:
    """End an epoch early, and with it its workers."""
    getattr(epoch, "close", lambda: None)()


def take_turns(field_: Sequence[Loader], rounds: int = ROUNDS, seconds: float = TURN_SECONDS) -> Race:
    """Measure images per second of loaders in turns: A B C, C B A, ...

    Args:
        field_: the loaders; each has at least two batches.
        rounds: at least two.
        seconds: duration of a turn; shorter if the epoch ends.
    """
    rates: list[list[float]] = [[] for _ in field_]
    meter = NoiseMeter()
    for number in range(rounds):
        order: Iterable[int] = range(len(field_)) if number % 2 == 0 else reversed(range(len(field_)))
        for index in order:
            epoch = field_[index].epoch(number)
            next(epoch)
            images, start = 0, time.perf_counter()
            for batch, _ in epoch:
                images += len(batch)
                if time.perf_counter() - start > seconds:
                    break
            rates[index].append(images / (time.perf_counter() - start))
            _close(epoch)
    return Race(rates, meter.read().noisy)


def waits(task: str, data_dir: Path | None) -> Iterator[str]:
    """A line for each cell of the shipped suites on a task: the share of a training step spent waiting for data."""
    for name in suites.names():
        suite = suites.load(name)
        if task not in suite.tasks or sources.find(tasks.get_task(task), data_dir) is None:
            continue
        kind = "memory" if suite.loader != "memory" and not loaders.is_installed() else suite.loader
        threads = suite.threads or torch.get_num_threads()
        cells = suites.cells(suite, suites.Overrides(tasks=(task,), seeds=1, loader=kind, threads=threads))
        for spec in {cell.method: cell for cell in cells}.values():
            share = waiting(spec, data_dir)
            verdict = "" if share <= WAIT_GOAL else f", more than {WAIT_GOAL:g}"
            yield f"{name}, {spec.method}, loader {spec.loader}: {share:.2f} % of a step waiting for data{verdict}"


def waiting(spec: CellSpec, data_dir: Path | None, seconds: float = WAIT_SECONDS) -> float:
    """Per cent of a cell's first steps spent in its training loader, without the first batch.

    Args:
        spec: the cell; it is not run and writes nothing.
        data_dir: folder of the task's files.
        seconds: duration of training.
    """
    with parts.data(spec, data_dir) as data:
        learner, _ = parts.learner(spec, len(data.train))
        learner.begin_epoch(0)
        epoch = data.train.epoch(0)
        learner.train_step(*next(epoch))
        waited, start = 0.0, time.perf_counter()
        while (begin := time.perf_counter()) - start < seconds:
            batch = next(epoch, None)
            waited += time.perf_counter() - begin
            if batch is None:
                break
            learner.train_step(*batch)
        total = time.perf_counter() - start
        _close(epoch)
    return 100 * waited / total


def _chart(frame: pd.DataFrame, title: str) -> Figure:
    figure, panel = plt.subplots(figsize=(8, 4), layout="constrained")
    pairs = zip(frame["loader"], frame["workers"], strict=True)
    named = frame.assign(loader=[kind if workers == "-" else f"{kind}, workers: {workers}" for kind, workers in pairs])
    sns.pointplot(
        named, x="augmentation", y="img/s", hue="loader", palette="colorblind", linestyle="none", dodge=0.3, ax=panel
    )
    panel.set(yscale="log", title=title)
    return figure
