"""Step time of VGG8b, the local-error paper's network: its two signals relative to backprop, in turns."""

from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from rich.table import Table

from bench import methods
from bench.measure import flops, race
from bench.methods import settings

BATCH = 128
CPU = torch.device("cpu")
LEARNERS = {
    "backprop": ("backprop", {"topology": "vgg", "activation": "leaky-relu"}),
    "backprop again": ("backprop", {"topology": "vgg", "activation": "leaky-relu"}),
    "pred": ("local-error", {"signal": "pred"}),
    "predsim": ("local-error", {"signal": "predsim"}),
}


@pytest.mark.benchmark(group="VGG8b")
@pytest.mark.timeout(900)
def test_a_step_of_vgg8b(benchmark, capfd):
    images, labels = torch.randn(BATCH, 3, 32, 32), torch.randint(10, (BATCH,))
    task, budget = SimpleNamespace(shape=(3, 32, 32), classes=10), SimpleNamespace(epochs=1, steps_per_epoch=100)

    def step(method, changes):
        made = settings.make(method, {"plan": "vgg8b", "hidden": [1024], "pooling": "max", **changes})
        learner = methods.get(method).build(task, made, budget, CPU, torch.Generator().manual_seed(0))
        learner.begin_epoch(0)
        learner.train_step(images, labels)
        return lambda: learner.train_step(images, labels)

    steps = [step(*chosen) for chosen in LEARNERS.values()]
    run = benchmark.pedantic(race.run, (steps, CPU), {"rounds": 2}, rounds=1)
    table = Table("step", "images/s", "time x backprop", "GFLOP per image", title=f"VGG8b, {BATCH} x 3 x 32 x 32")
    for index, name in enumerate(LEARNERS):
        ratio, spread = run.ratio(0, index)
        work = flops.count(steps[index]) / BATCH / 1e9
        table.add_row(name, f"{run.rate(index) * BATCH:.1f}", f"{ratio:.2f} (iqr {spread:.2f})", f"{work:.2f}")
    with capfd.disabled():
        print(flush=True)
        Console(width=120).print(table)
