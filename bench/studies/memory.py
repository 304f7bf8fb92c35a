"""Peak live and peak allocated bytes of every method of a suite: what operations take inside, method by method.

Nothing is trained but a few steps on random images, and no data is needed: memory depends on shapes, not on values.
Only a network that skips what its gates close needs less or more on other images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from bench import suites
from bench.data.sets import tasks
from bench.errors import UserError
from bench.measure import probe
from bench.measure.determinism import deterministic
from bench.measure.environment import threads
from bench.measure.precision import computing
from bench.options import Overrides
from bench.records import CellSpec
from bench.records.names import labels_of_cells
from bench.running import parts
from bench.studies.study import Findings, Request, Study

LARGEST_BATCH = 10_000
"""Most images of a step or a prediction."""
STEPS_PER_EPOCH = 100
"""Of the learners' schedules, which no memory depends on."""


@dataclass(frozen=True)
class MemorySettings:
    """Settings of the study.

    Attributes:
        suite: the methods, their settings, batch size and threads: a suite's name, or a TOML file.
        device: cpu, cuda or cuda:N.
    """

    suite: str = "ci"
    device: str = "cpu"


def measure(request: Request) -> Findings:
    """Measure a training step of every method, and a prediction of as many images as requested by each strategy."""
    suite = suites.load(request.settings.suite)
    for what, count in (("--samples", request.samples), (f"batch_size of suite {suite.name}", suite.batch_size)):
        if count > LARGEST_BATCH:
            raise UserError(f"{what} is {count}, and at most {LARGEST_BATCH:,} images are one batch here")
    name = request.task or suite.tasks[0]
    task = tasks.get_task(name)
    chosen = Overrides(tasks=(name,), seeds=1, first_seed=request.seed, device=request.settings.device, loader="memory")
    cells = suites.cells(suite, chosen)
    rows: list[list[str | int | float]] = []
    for cell, label in zip(cells, labels_of_cells(cells, brief=True), strict=True):
        device = torch.device(cell.device)
        with threads(cell.threads), deterministic(device), computing(cell.precision, device):
            rows += [[label, *row] for row in _of(cell, task, request)]
    columns = ("method", "what", "peak live MiB", "peak allocated MiB", "more %")
    batch = f"training: one step on {suite.batch_size} images; predicting: {request.samples} images of {task.title}"
    return Findings(name, columns, rows, [batch, "more: allocated bytes beyond the live ones"], {})


STUDY = Study(
    "Peak live and peak allocated bytes of training and predicting, for every method of a suite",
    measure,
    MemorySettings,
    samples=500,
)


def _of(cell: CellSpec, task: tasks.Task, request: Request) -> Iterator[list[str | int | float]]:
    """The rows of a cell: what, both peaks in MiB, and by how much the second is larger."""
    generator = torch.Generator().manual_seed(request.seed)
    images = torch.randn(cell.batch_size, *task.shape, generator=generator)
    labels = torch.randint(task.classes, (cell.batch_size,), generator=generator)
    test = torch.randn(request.samples, *task.shape, generator=generator)
    learner, _ = parts.learner(cell, STEPS_PER_EPOCH)
    images, labels, test = (each.to(cell.device) for each in (images, labels, test))
    live, allocated = probe.memory(learner, images, labels, epochs=cell.epochs)
    yield ["a training step", *_compared(live.peak, allocated)]
    for strategy in learner.strategies:
        yield [f"predicting by {strategy}", *_compared(*probe.prediction_memory(learner, strategy, test))]


def _compared(live: int, allocated: int | None) -> list[str | int | float]:
    if allocated is None:
        return [round(live / 2**20, 3), "-", "-"]
    return [round(live / 2**20, 3), round(allocated / 2**20, 3), round(100 * (allocated / live - 1), 2)]
