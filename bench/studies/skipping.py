"""Time saved by skipping in trained networks: prediction time relative to executed work.

`bench run SUITE --keep` leaves the trained weights in every cell's folder. The networks of such a folder predict the
same test images in turns, in one process; times are relative to a network all of whose layers always run. That one
takes part twice: the ratio of its two times is the noise of the others.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pandas as pd
import torch
from annotated_types import Ge
from torch import Tensor

from bench import records, seeds
from bench.data.loaders import Loader
from bench.errors import UserError
from bench.inputs import device_name
from bench.measure import race
from bench.methods import Learner
from bench.options import DEFAULT_RUNS
from bench.records import Record, sources
from bench.records.names import conditions_of, family_of, labels_of_cells, order
from bench.running import parts, training
from bench.running.local import KEEP_FREED_MEMORY
from bench.studies.study import Findings, Request, Study

if TYPE_CHECKING:  # drawing takes a second to import
    from matplotlib.figure import Figure

COLUMNS = ("network", "seed", "MMAC per image", "MACs x whole", "time x whole", "± time", "ms per image", "accuracy %")


@dataclass(frozen=True)
class Settings:
    """Settings of the study.

    Attributes:
        runs: folder of runs whose cells have kept their weights.
        suite: the suite whose cells are used; optional if there is only one.
        batch_size: images per prediction.
        threads: CPU threads; 0 for all.
        rounds: number of turns of each network.
        device: cpu, cuda or cuda:N.
    """

    runs: str = str(DEFAULT_RUNS)
    suite: str = ""
    batch_size: Annotated[int, Ge(1)] = parts.EVALUATION_BATCH
    threads: Annotated[int, Ge(0)] = 0
    rounds: Annotated[int, Ge(2)] = race.ROUNDS
    device: str = "cpu"


@dataclass(frozen=True)
class Kept:
    """A cell that has kept its trained weights.

    Attributes:
        name: its label.
        folder: its folder.
    """

    name: str
    record: Record
    folder: Path

    @property
    def macs(self) -> float:
        """Multiply-accumulates per test image, on average."""
        return 0.0 if self.record.work is None else self.record.work.macs


def _is_whole(record: Record) -> bool:
    """Whether all layers run for every image."""
    return record.work is not None and all(share == 1 for share in record.work.layers)


def measure(request: Request) -> Findings:
    """Measure time and executed work of every network in the folder."""
    chosen: Settings = request.settings
    kept = find(Path(chosen.runs), task=request.task, suite=chosen.suite)
    whole = min((one for one in kept if _is_whole(one.record)), key=lambda one: one.macs, default=None)
    if whole is None:
        raise UserError(
            f"no network in {chosen.runs!r} always runs all layers: there is nothing to compare the others' times with"
        )
    order = [whole, *(one for one in kept if one is not whole)]
    there = whole.record.strategies[0].samples
    if request.samples > there:
        raise UserError(f"--samples {request.samples} is more than the {there} test images there are")
    device = torch.device(device_name(chosen.device, "device"))
    run, used = _in_subprocess(partial(_race, order, request, device))
    lines: list[list[str | int | float]] = []
    for index, one in enumerate(order):
        ratio, spread = run.ratio(0, index)
        accuracy = one.record.strategies[0].accuracy
        ms = 1e3 / (run.rate(index) * request.samples)
        shares = [round(one.macs / 1e6, 3), round(one.macs / order[0].macs, 3), round(ratio, 3), round(spread, 3)]
        lines.append([one.name, one.record.cell.seed, *shares, round(ms, 3), round(accuracy, 2)])
    same, spread = run.ratio(0, -1)
    first = f"{order[0].name}, seed {order[0].record.cell.seed}"
    notes = [
        f"{request.samples} test images, {chosen.batch_size} at a time; {used} threads of {device}",
        f"time x whole: relative to {first}, in {chosen.rounds} rounds by turns; ± is the interquartile range",
        f"{first}, relative to itself: {same:.3f} ± {spread:.3f}",
        "MACs: mean over all test images, gates included",
        *_other_code(order),
        *(["the machine was busy: times are noisy"] if run.noisy else []),
    ]
    frame = pd.DataFrame(lines, columns=list(COLUMNS))
    frame["family"] = [family_of(one.record.cell) for one in order]
    title = f"{order[0].record.cell.task}, batches of {chosen.batch_size}"
    return Findings(order[0].record.cell.task, COLUMNS, lines, notes, {"skipping": partial(_chart, frame, title)})


def find(runs: Path, *, task: str | None = None, suite: str = "") -> list[Kept]:
    """The cells in a folder of runs that have kept their weights, of one task and suite.

    A starting checkpoint's cell is among them only if no other runs all layers.

    Raises:
        UserError: if there are none, or there are several tasks or suites and none is chosen.
    """
    finished = [
        record
        for record in records.read_all(runs).records
        if record.status == "ok"
        and record.work is not None
        and task in (None, record.cell.task)
        and suite in ("", record.suite)
    ]
    starts = {record.cell.begins_with.id for record in finished if record.cell.begins_with is not None}
    kept = [record for record in finished if (runs / record.id / records.LEARNED_FILE).is_file()]
    others = [record for record in kept if record.id not in starts]
    if not others:
        raise UserError(
            f"no cell in {str(runs)!r} has work that depends on the image and has kept its weights; "
            "`bench run SUITE --keep` makes such cells"
        )
    for what, option, names in (
        ("tasks", "--task NAME", {record.cell.task for record in others}),
        ("suites", "--set suite=NAME", {record.suite for record in others}),
    ):
        if len(names) > 1:
            raise UserError(f"{str(runs)!r} has several {what} ({', '.join(sorted(names))}): choose by {option}")
    shown = others if any(map(_is_whole, others)) else kept
    shown.sort(key=lambda record: (order(record.cell.method, conditions_of(record.cell)), record.cell.seed))
    labels = labels_of_cells([record.cell for record in shown], brief=True)
    return [Kept(name, record, runs / record.id) for name, record in zip(labels, shown, strict=True)]


def _other_code(kept: Sequence[Kept]) -> list[str]:
    """A note if networks were trained by a different version of the code than is timed here."""
    old = sum(sources.is_current(one.record) is False for one in kept)
    return [f"{old} of {len(kept)} networks were trained by a different version of the code"] if old else []


def restored(kept: Kept, device: torch.device) -> Learner:
    """Restore the trained learner of a cell.

    Raises:
        UserError: if the file is damaged, or of another network.
    """
    spec, epoch = kept.record.cell, kept.record.epochs[0]
    learner, _ = parts.learner(spec.model_copy(update={"device": str(device)}), -(-epoch.images // spec.batch_size))
    file = kept.folder / records.LEARNED_FILE
    try:
        learner.load_state_dict(training.load_state(file, device)["learner"])
    except UserError:
        raise UserError(f"{file} is damaged; delete it and run `bench run --keep` again") from None
    except (KeyError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{file} does not fit this version of {spec.method} ({reason})") from error
    return learner


@torch.no_grad()
def _race(kept: Sequence[Kept], request: Request, device: torch.device) -> tuple[race.Race, int]:
    """Race all networks, the first of them once more at the end; returns also the number of threads."""
    chosen: Settings = request.settings
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    spec = kept[0].record.cell.model_copy(update={"device": str(device)})
    with parts.data(spec, request.data_dir) as data:
        batches = _drawn(data.test, request.samples, request.seed).split(chosen.batch_size)
    learners = [restored(one, device) for one in [*kept, kept[0]]]
    steps = [partial(_predict, learner, batches) for learner in learners]
    for step in steps:
        step()
    return race.run(steps, device, chosen.rounds), torch.get_num_threads()


def _drawn(loader: Loader, samples: int, seed: int) -> Tensor:
    """Draw images of all classes: in image folders, the first images are of the first classes."""
    order = torch.randperm(loader.samples, generator=seeds.generator(seed, "skipping"))
    wanted = torch.zeros(loader.samples, dtype=torch.bool)
    wanted[order[:samples]] = True
    taken, start = [], 0
    for images, _ in loader.epoch(0):
        taken.append(images[wanted[start : start + len(images)].to(images.device)])
        start += len(images)
    return torch.cat(taken)


def _predict(learner: Learner, batches: Sequence[Tensor]) -> None:
    for batch in batches:
        learner.predict(batch, learner.strategies[0])


def _in_subprocess(work: Callable[[], Any]) -> Any:
    """Run a function in a process that keeps freed memory, as every cell's process does."""
    with (
        _environment(KEEP_FREED_MEMORY),
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        try:
            return pool.submit(work).result()
        except BrokenProcessPool:
            raise UserError("the measuring process was killed, perhaps by the system for lack of memory") from None


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


def _chart(frame: pd.DataFrame, title: str) -> Figure:
    import matplotlib.pyplot as plt
    import seaborn as sns

    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    axes.plot([0, 1], [0, 1], color="gray", linewidth=1, linestyle="--", label="time = MACs")
    sns.scatterplot(
        frame, x="MACs x whole", y="time x whole", hue="family", style="family", palette="colorblind", s=60, ax=axes
    )
    axes.errorbar(frame["MACs x whole"], frame["time x whole"], frame["± time"] / 2, fmt="none", ecolor="gray")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set(title=f"What skipping saves: {title}")
    axes.legend()
    return figure


STUDY = Study(
    "What skipping saves in trained networks: prediction time relative to work, from `bench run --keep`",
    measure,
    Settings,
    samples=1000,
)
