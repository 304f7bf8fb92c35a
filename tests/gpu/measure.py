"""What a GPU has to say, in one file: `nox -s gpu` runs this after the tests that need one.

    steps      ASGE's step beside backprop's, in turns in one process, by network, batch, precision and execution
    loaders    images per second that a loader gives, and the share of an epoch that training waits for it

Without a GPU it runs on a CPU, at the same sizes: give `--small` to see whether it works.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bench.data.loaders import Loader, make_loader
from bench.data.sets.splits import Split
from bench.data.sets.tasks import CIFAR10
from bench.measure import clock, flops, race
from bench.measure.memory import live_bytes, tensors_of
from bench.measure.operations import Operations
from bench.measure.precision import computing
from bench.methods import Learner
from bench.running import parts

BUDGET = SimpleNamespace(epochs=10, steps_per_epoch=100)
AUTHORS_NETWORK = {"plan": "vgg8", "pooling": "avg"}
SAME = {"affine": False, "optimiser": "adamw", "learning_rate": 3e-3}
CONTESTANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "asge": ("asge", {}),
    "asge again": ("asge", {}),
    "backprop": ("backprop", {}),
    "backprop, max pooling": ("backprop", {"pooling": "max"}),
    "backprop, batch in 4 parts": ("backprop", {"accumulate": 4}),
    "backprop, checkpointing": ("backprop", {"checkpointing": "blocks"}),
}
COMPILED = ("asge", "backprop", "backprop, max pooling")


@dataclass(frozen=True)
class Sizes:
    """What is measured, and for how long at most, in seconds: what is left then is left out, and said to be."""

    networks: dict[str, tuple[tuple[int, int, int], dict[str, Any]]]
    batches: tuple[int, ...]
    precisions: tuple[str, ...]
    compiled_in: str
    backend: str
    images: int
    side_of_product: int
    seconds: float


WHOLE = Sizes(
    {"authors' vgg8": ((3, 32, 32), AUTHORS_NETWORK), "small": ((1, 28, 28), {"plan": "small"})},
    (128, 512, 2048), ("float32", "tf32", "bf16"), "bf16", "inductor", 50_000, 8192, 380.0,
)  # fmt: skip
SMALL = Sizes({"tiny": ((1, 8, 8), {"plan": "8,M,16"})}, (8,), ("float32", "bf16"), "bf16", "eager", 200, 64, 60.0)


def product_rate(side: int, device: torch.device) -> float:
    """Floating-point operations per second of a product of two square matrices: the best of ten."""
    a, b = torch.randn(side, side, device=device), torch.randn(side, side, device=device)
    seconds = []
    for _ in range(10):
        start = clock.now(device)
        torch.mm(a, b)
        seconds.append(clock.now(device) - start)
    return 2 * side**3 / max(1e-9, min(seconds))


def steps(sizes: Sizes, device: torch.device, end: float) -> Iterator[dict[str, Any]]:
    """A row per contestant."""
    for network, (shape, values) in sizes.networks.items():
        for precision in sizes.precisions:
            if precision == "tf32" and device.type == "cpu":
                continue
            for batch in sizes.batches:
                where = {"network": network, "precision": precision, "batch": batch}
                if time.perf_counter() > end:
                    yield {**where, "left out": "no time was left"}
                    continue
                with computing(precision, device):  # type: ignore[arg-type]
                    compiled = precision == sizes.compiled_in
                    for row in _race(sizes, shape, values, batch, device, compiled=compiled):
                        yield {**where, **row}


def _race(
    sizes: Sizes,
    shape: tuple[int, int, int],
    values: dict[str, Any],
    batch: int,
    device: torch.device,
    *,
    compiled: bool,
) -> Iterator[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, *shape, generator=generator).to(device, memory_format=torch.channels_last)
    labels = torch.randint(10, (batch,), generator=generator).to(device)
    task = SimpleNamespace(name="made up", shape=shape, classes=10)
    names = list(CONTESTANTS) + [f"{name}, compiled" for name in COMPILED if compiled]
    made: dict[str, Callable[[], Any]] = {}
    told: dict[str, dict[str, Any]] = {}
    for name in names:
        method, own = CONTESTANTS[name.removesuffix(", compiled")]
        learner = parts.build(method, {**SAME, **values, **own}, task, BUDGET, device, torch.Generator())  # type: ignore[arg-type]
        if name.endswith(", compiled"):
            learner.compile(sizes.backend)  # type: ignore[attr-defined]
        learner.begin_epoch(0)
        made[name] = lambda learner=learner: learner.train_step(images, labels)
        made[name]()
        told[name] = _memory(made[name], learner, device, counted=not name.endswith(", compiled"))
    run = race.run(list(made.values()), device, rounds=5)
    fastest = max((number for number, name in enumerate(names) if name.startswith("backprop")), key=run.rate)
    limit = product_rate(sizes.side_of_product, device)
    for number, name in enumerate(names):
        work = told[name].pop("flops", None)
        yield {
            "step": name,
            "images per second": batch * run.rate(number),
            "x fastest backprop": run.ratio(number, fastest)[0],
            "share of matrix rate": None if work is None else run.rate(number) * work / limit,
            "noisy": run.noisy,
            **told[name],
        }


def _memory(step: Callable[[], Any], learner: Any, device: torch.device, *, counted: bool) -> dict[str, Any]:
    """Peak bytes of a step, and what a step that is not compiled dispatches."""
    found: dict[str, Any] = {}
    if counted:
        with Operations() as operations:
            found["flops"] = flops.count(step)
        found["operations"] = operations.total
        found["live bytes"] = live_bytes(step, tensors_of(learner.state_dict())).peak
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        step()
        found["allocated bytes"] = torch.cuda.max_memory_allocated(device)
        found["reserved bytes"] = torch.cuda.max_memory_reserved(device)
    return found


def loaders(sizes: Sizes, device: torch.device) -> Iterator[dict[str, Any]]:
    """A row per loader: its own rate, and what training waits for it, with ASGE on the first network in bfloat16."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (sizes.images, *CIFAR10.shape), dtype=torch.uint8, generator=generator)
    labels = torch.randint(10, (sizes.images,), generator=generator)
    split = Split(pixels, labels, torch.arange(sizes.images), "train")
    values = next(iter(sizes.networks.values()))[1]
    for kind in ("memory", "device"):
        loader = make_loader(
            kind,
            CIFAR10,
            split,
            batch_size=min(512, sizes.images),
            seed=0,
            shuffle=True,
            augmentation=("crop", "flip"),
            device=device,
        )
        learner = parts.build("asge", {**SAME, **values}, CIFAR10, BUDGET, device, torch.Generator())  # type: ignore[arg-type]
        learner.begin_epoch(0)
        with computing("bf16", device):
            yield {"loader": kind, **_waiting(loader, learner, device)}
        loader.close()


def _waiting(loader: Loader, learner: Learner, device: torch.device) -> dict[str, float]:
    """The rate of a loader alone, and by how much an epoch is longer with it than with one batch again and again."""
    cached = next(iter(loader.epoch(0)))
    learner.train_step(*cached)

    def load() -> None:
        for _ in loader.epoch(1):
            pass

    def train() -> None:
        for batch in loader.epoch(1):
            learner.train_step(*batch)

    def train_on_one() -> None:
        for _ in range(len(loader)):
            learner.train_step(*cached)

    alone, whole, steps = (_seconds(each, device) for each in (load, train, train_on_one))
    return {"images per second": loader.samples / alone, "share of waiting": max(0.0, 1 - steps / whole)}


def _seconds(run: Callable[[], Any], device: torch.device) -> float:
    start = clock.now(device)
    run()
    return max(1e-9, clock.now(device) - start)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.3g}" if isinstance(value, float) else str(value)


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows as a table."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(_text(row.get(column)) for column in columns))
    Console(width=200).print(table)


def main(arguments: list[str]) -> int:
    """Measure, print, and write the file."""
    parser = argparse.ArgumentParser(description="Time steps and loaders on a GPU.")
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("--small", action="store_true", help="only see whether it works")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    sizes, device = SMALL if options.small else WHOLE, torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU"
    found: dict[str, Any] = {"device": name, "torch": torch.__version__, "steps": [], "loaders": []}
    found["loaders"] = list(loaders(sizes, device))
    found["steps"] = list(steps(sizes, device, time.perf_counter() + sizes.seconds))
    show(f"loaders on {name}", found["loaders"])
    show(f"steps on {name}", found["steps"])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
