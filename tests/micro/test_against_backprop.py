"""ASGE's step relative to backprop's: same network, optimiser, layout and batch, in turns in one process.

Every way to take backprop's step that might be faster is offered to it: other pooling, a compiled network, a batch in
parts. ASGE is offered a compiled step too. Speeds are ratios to the fastest of backprop's; the second of two equal
contestants shows the noise.
"""

import itertools
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from rich.table import Table

from asge import ASGELearner, ASGESettings
from baselines.backprop import BackpropLearner, BackpropSettings
from bench.measure import clock, flops, race
from bench.measure.memory import PeakMemory, live_bytes, storage_bytes, tensors_of
from bench.running.local import KEEP_FREED_MEMORY

BUDGET = SimpleNamespace(epochs=10, steps_per_epoch=100)
CPU = torch.device("cpu")
NETWORKS = {
    "vgg8": ("vgg8", (3, 32, 32), 128),
    "small": ("small", (1, 28, 28), 128),
    "quick": ("16,M,32,M,64,M,128", (1, 28, 28), 64),
    "8 equal blocks": (",".join(8 * ["64"]), (64, 16, 16), 128),
    "16 equal blocks": (",".join(16 * ["64"]), (64, 16, 16), 128),
}
"""Plan, shape of the images, batch."""
COLUMNS = (
    "step",
    "images/s",
    "x fastest backprop",
    "of matrix multiply",
    "live MiB",
    "without weights",
    "resident MiB",
)


def backprop(task, plan, *, compiled=False, **settings):
    learner = BackpropLearner(task, BackpropSettings(plan=plan, **settings), BUDGET, CPU, torch.Generator())
    if compiled:
        learner.compile()
    return learner


def asge(task, plan, *, compiled=False, **settings):
    same = ASGESettings(plan=plan, optimiser="adamw", affine=False, learning_rate=3e-3, **settings)  # as backprop's
    learner = ASGELearner(task, same, BUDGET, CPU, torch.Generator())
    if compiled:
        learner.compile()
    return learner


CONTESTANTS = {
    "asge": asge,
    "asge again": asge,
    "asge, compiled": lambda *network: asge(*network, compiled=True),
    "asge, max pooling": lambda *network: asge(*network, pooling="max"),
    "asge by autograd": lambda *network: asge(*network, step="autograd"),
    "backprop": backprop,
    "backprop, max pooling": lambda *network: backprop(*network, pooling="max"),
    "backprop, compiled": lambda *network: backprop(*network, compiled=True),
    "backprop, max pooling, compiled": lambda *network: backprop(*network, pooling="max", compiled=True),
    "backprop, batch in 4 parts": lambda *network: backprop(*network, pooling="max", accumulate=4),
}


def matrix_multiply_rate(side=2048):
    """Floating-point operations per second of this machine's own product of two square matrices: the best of ten."""
    a, b = torch.randn(side, side), torch.randn(side, side)
    seconds = []
    for _ in range(10):
        start = clock.now(CPU)
        torch.mm(a, b)
        seconds.append(clock.now(CPU) - start)
    return 2 * side**3 / min(seconds)


@pytest.mark.benchmark(group="against backprop")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("network", NETWORKS)
def test_against_backprop(benchmark, network, capfd):
    """In a process of its own, which keeps freed memory as every cell does."""
    command = [sys.executable, __file__, network]
    environment = {**os.environ, **KEEP_FREED_MEMORY}
    with capfd.disabled():
        print(flush=True)
        benchmark.pedantic(subprocess.run, (command,), {"env": environment, "check": True}, rounds=1)


def resident_peak(network, name):
    """Peak resident bytes of the learner's first three steps, its making included: () where it cannot be known.

    In a process of its own: one that others have used before has memory to give that is counted as theirs.
    """
    said = subprocess.run([sys.executable, __file__, network, name], check=True, capture_output=True, text=True).stdout
    return () if said.strip() == "None" else (int(said),)


def print_resident_peak(network, name):
    plan, shape, batch = NETWORKS[network]
    images, labels = torch.randn(batch, *shape), torch.randint(10, (batch,))
    peak = PeakMemory(CPU)
    learner = CONTESTANTS[name](SimpleNamespace(shape=shape, classes=10), plan)
    for _ in range(3):
        learner.train_step(images, labels)
    print(peak.peak())


def main(network):
    plan, shape, batch = NETWORKS[network]
    task = SimpleNamespace(shape=shape, classes=10)
    images, labels = torch.randn(batch, *shape), torch.randint(10, (batch,))
    learners = {name: make(task, plan) for name, make in CONTESTANTS.items()}
    memory = {}
    for name, learner in learners.items():
        learner.train_step(images, labels)
        if "compiled" not in name:
            kept = [*tensors_of(learner.state_dict()), images, labels]
            old_gradients = (p.grad for p in learner.parameters() if p.grad is not None)
            gradients = storage_bytes(p.grad for p in learner.parameters() if p.grad is not None)
            live = live_bytes(
                lambda made=learner: made.train_step(images, labels), itertools.chain(kept, old_gradients)
            )
            memory[name] = live.peak, live.peak - storage_bytes(kept[:-2]) - gradients
    steps = [lambda learner=learner: learner.train_step(images, labels) for learner in learners.values()]
    resident = {name: resident_peak(network, name) for name in memory}
    run = race.run(steps, CPU, rounds=5)
    names = list(learners)
    fastest = max((i for i, name in enumerate(names) if "backprop" in name), key=run.rate)
    peak_rate = matrix_multiply_rate()
    table = Table(title=f"{network}, {batch} x {' x '.join(map(str, shape))}, {torch.get_num_threads()} threads")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "step" else "right")
    for index, name in enumerate(names):
        work = None if "compiled" in name else flops.count(steps[index])
        table.add_row(
            name,
            f"{run.rate(index) * batch:,.0f}",
            f"{run.ratio(index, fastest)[0]:.2f}",
            "-" if work is None else f"{run.rate(index) * work / peak_rate:.0%}",
            *(f"{part / 2**20:,.1f}" for part in (*memory.get(name, ()), *resident.get(name, ()))),
        )
    console = Console(width=120)
    console.print(table)
    same, spread = run.ratio(1, 0)
    console.print(
        f"A/A {same:.3f}, interquartile range {spread:.3f}; noisy: {run.noisy}; {peak_rate / 1e9:.0f} GFLOP/s"
    )


if __name__ == "__main__":
    (main if len(sys.argv) == 2 else print_resident_peak)(*sys.argv[1:])
