"""Time saved by skipping: predictions of gated ResNets that execute a given share, relative to the ungated one's.

Gates are not trained here but drawn: for each image and block, for each channel, or for each image and channel, whether
it is open. What they cost themselves counts, in time and in work.
"""

import os
import subprocess
import sys

import pytest
import torch
from rich.console import Console
from rich.table import Table

from baselines.conditional.resnet import GatedResNet
from bench.measure import race
from bench.running.local import KEEP_FREED_MEMORY

CPU = torch.device("cpu")
SHARES = (1.0, 0.8, 0.6, 0.4, 0.2)
KINDS = {
    "blocks": ("cifar-20", "blocks", 128, 32, False),
    "channels, the same of all images": ("cifar-20", "channels", 128, 32, False),
    "channels, others of each image": ("cifar-20", "channels", 128, 32, True),
    "channels of large maps, others of each image": ("imagenet-18", "channels", 8, 224, True),
}
"""Architecture, what has gates, images, their side, and whether each image has channels of its own open."""


def network(name, gating, share, batch, *, of_each=False):
    """A ResNet whose gates are open as drawn."""
    generator = torch.Generator().manual_seed(0)
    made = GatedResNet(name, 10, gating=gating, generator=generator).eval()
    for block in made.blocks:
        if block.block_gate is not None:
            opened = (torch.rand(batch, generator=generator) < share).float()
            logits = block.block_gate.logits
            block.block_gate.forward = lambda x, means, of=logits, z=opened: of(x, means)[:, 0] * 0 + z
        if block.channel_gate is not None:
            shape = (batch if of_each else 1, block.channel_gate.head.out_features)
            opened = (torch.rand(shape, generator=generator) < share).float()
            block.channel_gate.sample = lambda logits, g=opened: logits * 0 + g
    return made


@pytest.mark.benchmark(group="skipping")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_time_falls_with_the_work(benchmark, capfd, kind):
    """In a process of its own, which keeps freed memory as every cell does."""
    command, environment = [sys.executable, __file__, kind], {**os.environ, **KEEP_FREED_MEMORY}
    with capfd.disabled():
        print(flush=True)
        benchmark.pedantic(subprocess.run, (command,), {"env": environment, "check": True}, rounds=1)


@torch.no_grad()
def main(kind):
    name, gating, count, side, of_each = KINDS[kind]
    images = torch.rand(count, 3, side, side)
    networks = [network(name, "none", 1.0, count), network(name, "none", 1.0, count)]
    networks += [network(name, gating, share, count, of_each=of_each) for share in SHARES]
    names = ["ungated", "ungated again", *(f"{share:.0%} open" for share in SHARES)]
    macs = [float(each(images).macs.mean()) for each in networks]
    run = race.run([lambda each=each: each(images) for each in networks], CPU)
    table = Table(
        "network", "MACs x ungated", "time x ungated", title=f"{kind}: {name}, {count} images of 3 x {side} x {side}"
    )
    for index, row in enumerate(names):
        ratio, spread = run.ratio(0, index)
        table.add_row(row, f"{macs[index] / macs[0]:.2f}", f"{ratio:.2f} (quartiles {spread:.2f} apart)")
    Console(width=110).print(table)
    print(f"noisy: {run.noisy}; {torch.get_num_threads()} threads", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
