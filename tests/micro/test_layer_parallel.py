"""Layer-parallel against sequential training: processes of one thread each, and one process of as many threads.

The second of two equal contestants shows the noise.
"""

import os
import statistics
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from rich.console import Console
from rich.table import Table

from asge import ASGESettings
from asge.network import parse_plan
from asge.parallel import LayerParallelTrainer, balanced, multiplications
from bench.measure import clock
from bench.running.local import KEEP_FREED_MEMORY

BATCH = 128
STEPS = 20
ROUNDS = 5
STAGES = 2
CPU = torch.device("cpu")
NETWORKS = {
    "small": ("small", (1, 28, 28)),
    "4 equal blocks": (",".join(4 * ["64"]), (64, 16, 16)),
    "16 equal blocks": (",".join(16 * ["64"]), (64, 16, 16)),
}


def one_process(rank, stages, threads, plan, shape, folder):
    torch.set_num_threads(threads)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=stages)
    task, budget = SimpleNamespace(shape=shape, classes=10), SimpleNamespace(epochs=10, steps_per_epoch=100)
    batch = (torch.randn(BATCH, *shape), torch.randint(10, (BATCH,)))

    def epoch(steps):
        drawn = torch.Generator().manual_seed(0)
        settings, sizes = ASGESettings(plan=plan), steps * [BATCH]
        trainer = LayerParallelTrainer(task, settings, budget, CPU, drawn, sizes=sizes)
        dist.barrier()
        start = clock.now(CPU)
        trainer.train_epoch((batch for _ in range(steps)) if rank == 0 else None)
        dist.barrier()
        return clock.now(CPU) - start

    epoch(3)
    seconds = epoch(STEPS)
    if rank == 0:
        torch.save(seconds, f"{folder}/seconds.pt")
    dist.destroy_process_group()


def rate(stages, plan, shape, folder):
    """Images per second of so many stages, which share ``STAGES`` threads."""
    folder.mkdir()
    with mock.patch.dict(os.environ, KEEP_FREED_MEMORY):
        arguments = (stages, STAGES // stages, plan, shape, folder)
        mp.start_processes(one_process, arguments, nprocs=stages, start_method="spawn")
    return STEPS * BATCH / torch.load(folder / "seconds.pt")


@pytest.mark.benchmark(group="layer parallel")
@pytest.mark.parametrize("network", NETWORKS)
def test_layer_parallel(benchmark, network, tmp_path, capfd):
    plan, shape = NETWORKS[network]
    contestants = {"one process": 1, "one process again": 1, f"{STAGES} stages": STAGES}
    rates = {name: [] for name in contestants}

    def turns():
        for turn in range(ROUNDS):
            for name, stages in contestants.items():
                rates[name].append(rate(stages, plan, shape, tmp_path / f"{turn} {name}"))

    benchmark.pedantic(turns, rounds=1)
    first = rates["one process"]
    parts = " | ".join(
        f"{part.start + 1}-{part.stop}" for part in balanced(multiplications(parse_plan(plan, shape)), STAGES)
    )
    size = f"{BATCH} x {' x '.join(map(str, shape))}"
    table = Table(title=f"{network}, {size}, {STAGES} threads in all, stages of blocks {parts}")
    for column in ("training", "images/s", "x one process", "interquartile range"):
        table.add_column(column, justify="left" if column == "training" else "right")
    for name, values in rates.items():
        ratios = [value / other for value, other in zip(values, first, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        table.add_row(name, f"{statistics.median(values):,.0f}", f"{middle:.2f}", f"{high - low:.2f}")
    with capfd.disabled():
        print()
        Console(width=120).print(table)
