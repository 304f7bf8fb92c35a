"""SoftPool and RMSPool relative to PyTorch's average pool, and a ResNet-18's step with and without GCT, in turns."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from rich.console import Console
from rich.table import Table

from asge.layers.gating import add_gct
from asge.layers.pooling import rms_pool2d, soft_pool2d
from baselines.video import video_network
from bench.measure import race

CPU = torch.device("cpu")


def unfolded(x):
    windows = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    return (windows.softmax(-1) * windows).sum(-1)


POOLS = {
    "average": lambda x: F.avg_pool2d(x, 2),
    "average again": lambda x: F.avg_pool2d(x, 2),
    "maximum": lambda x: F.max_pool2d(x, 2),
    "rms": lambda x: rms_pool2d(x, 2),
    "soft": lambda x: soft_pool2d(x, 2),
    "soft, the paper's gradient": lambda x: soft_pool2d(x, 2, gradient="paper"),
    "soft, compiled": torch.compile(lambda x: soft_pool2d(x, 2)),
    "unfolded softmax": unfolded,
}


def show(capfd, title, names, run, reference=0):
    table = Table("what", "calls/s", f"time x {names[reference]}", title=title)
    for index, name in enumerate(names):
        ratio, spread = run.ratio(reference, index)
        table.add_row(name, f"{run.rate(index):,.1f}", f"{ratio:.2f} (quartiles {spread:.2f} apart)")
    with capfd.disabled():
        print(flush=True)
        Console(width=110).print(table)
        print(f"noisy: {run.noisy}; {torch.get_num_threads()} threads", flush=True)


@pytest.mark.benchmark(group="pools")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
def test_pools_forward_and_backward(benchmark, capfd, layout):
    x = torch.randn(32, 64, 32, 32).contiguous(memory_format=layout).requires_grad_()
    by_pooled = torch.randn(32, 64, 16, 16).contiguous(memory_format=layout)

    def step(pool):
        return lambda: torch.autograd.grad(pool(x), x, by_pooled)

    steps = [step(pool) for pool in POOLS.values()]
    for each in steps:
        each()
    run = benchmark.pedantic(race.run, (steps, CPU), rounds=1)
    show(capfd, f"forward and backward, 32 x 64 x 32 x 32, windows of 2, {layout}", list(POOLS), run)


@pytest.mark.benchmark(group="gates")
@pytest.mark.timeout(600)
def test_a_resnet18s_step_with_gct(benchmark, capfd):
    images, labels = torch.randn(16, 3, 112, 112), torch.randint(1000, (16,))

    def step(where=None):
        model = torchvision.models.resnet18()
        if where is not None:
            add_gct(model, where)
        optimiser = torch.optim.SGD(model.parameters(), 0.01)

        def run():
            optimiser.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimiser.step()

        run()
        return run

    contestants = {"plain": step(), "plain again": step(), "every": step("every"), "block": step("block")}
    run = benchmark.pedantic(race.run, (list(contestants.values()), CPU), rounds=1)
    show(capfd, "a step of ResNet-18 with GCT, 16 x 3 x 112 x 112", list(contestants), run)


@pytest.mark.benchmark(group="pools")
@pytest.mark.timeout(600)
def test_a_video_networks_step_by_its_pools(benchmark, capfd):
    videos, labels = torch.randn(2, 3, 8, 56, 56), torch.randint(10, (2,))

    def step(pooling):
        network = video_network(10, pooling=pooling, blocks=(1, 1, 1, 1), generator=torch.Generator().manual_seed(0))
        optimiser = torch.optim.SGD(network.parameters(), 0.01)

        def run():
            optimiser.zero_grad()
            F.cross_entropy(network(videos), labels).backward()
            optimiser.step()

        run()
        return run

    contestants = {"average": step("avg"), "average again": step("avg"), "maximum": step("max"), "soft": step("soft")}
    run = benchmark.pedantic(race.run, (list(contestants.values()), CPU), rounds=1)
    show(capfd, "a step of R3D-10 by its pools, 2 x 3 x 8 x 56 x 56", list(contestants), run)
