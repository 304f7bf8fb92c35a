"""Time of one batch of 128 from every loader: CIFAR-10 with crop and flip, Tiny-ImageNet-20 with random resized crops.

Each loader's images per second are in ``extra_info``. `bench study loaders` lets them take turns.
"""

import itertools
import os

import pytest
import torch

from bench.data import loaders
from bench.data.sets import sources, splits, tasks

WORKLOADS = {"cifar10": ("crop", "flip"), "tiny-imagenet-20": ("resized-crop", "flip")}
MANY = max(2, os.cpu_count() or 1)
KINDS = [("memory", 1), ("ffcv", 1), ("ffcv", MANY), ("torch", 1), ("torch", MANY)]


@pytest.fixture(params=WORKLOADS)
def part(request):
    task = tasks.get_task(request.param)
    if sources.find(task) is None:
        pytest.skip(f"the files of {task.name} are not here")
    return task, splits.split(task, task.read(None)).train


@pytest.mark.benchmark(group="batch of 128")
@pytest.mark.parametrize(("kind", "workers"), KINDS)
def test_batch(benchmark, part, kind, workers):
    if kind == "ffcv" and not loaders.is_installed():
        pytest.skip("needs FFCV, which is not installed")
    task, samples = part
    loader = loaders.make_loader(
        kind,
        task,
        samples,
        batch_size=128,
        seed=0,
        shuffle=True,
        augmentation=WORKLOADS[task.name],
        device=torch.device("cpu"),
        workers=workers,
    )
    batches = itertools.chain.from_iterable(loader.epoch(number) for number in itertools.count())
    benchmark.pedantic(next, (batches,), rounds=60, warmup_rounds=5)
    benchmark.extra_info["images per second"] = 128 / benchmark.stats.stats.mean
    del batches
    loader.close()
