"""The peaks of small nets are worked out by hand: which blocks are alive at once, and with how many bytes."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench import methods
from bench.measure import probe
from bench.measure.allocator import allocated_bytes
from bench.measure.memory import live_bytes, tensors_of
from bench.running.local import KEEP_FREED_MEMORY
from bench.testing import variants
from bench.testing.small import EPOCHS, batches

CPU = torch.device("cpu")
METHODS = [subject for name in methods.names() for subject in variants(name, CPU)]


def both(step, *modules, tensors=()):
    """Peaks of live and allocated bytes of a step; modules hold parameters, buffers and gradients."""

    def held():
        for module in modules:
            yield from module.parameters()
            yield from module.buffers()
            yield from (each.grad for each in module.parameters() if each.grad is not None)
        yield from tensors

    step()
    live = live_bytes(step, held())
    return live.peak, allocated_bytes(step, CPU, held, live.found)


def test_a_linear_layer_without_bias():
    net = nn.Linear(128, 64, bias=False)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    x, g = torch.randn(32, 128), torch.randn(32, 64)

    def step():
        optimiser.zero_grad()  # frees what the step before has left
        y = net(x)
        y.backward(g)
        optimiser.step()

    weight, inputs, outputs = 4 * 64 * 128, 4 * 32 * 128, 4 * 32 * 64
    # W, x and the given gradient are there; at the end of the backward pass also y and W's gradient. No operation takes
    # more inside than it returns, so that both numbers are the same.
    by_hand = weight + inputs + outputs + outputs + weight
    assert both(step, net, tensors=[x, g]) == (by_hand, by_hand)


def test_batch_normalisation_copies_a_map_in_its_backward_pass():
    net = nn.Sequential(nn.Conv2d(2, 4, 1, bias=False), nn.BatchNorm2d(4))
    x, g = torch.randn(8, 2, 10, 10), torch.randn(8, 4, 10, 10)

    def step():
        net.zero_grad()
        net(x).backward(g)

    numbers, images, a_map = 4 * 4, 4 * 8 * 2 * 100, 4 * 8 * 4 * 100
    kernel, counter = 4 * 4 * 2, 8
    # there before: the kernel, gamma and beta, running mean and variance and their counter, the images, the gradient
    before = kernel + 4 * numbers + counter + images + a_map
    # in the backward pass of the normalisation: the maps after the convolution and after the normalisation, the batch's
    # mean and deviation, and the gradients of the first map, of gamma and of beta
    live = before + 2 * a_map + 2 * numbers + a_map + 2 * numbers
    assert both(step, net, tensors=[x, g]) == (live, live + a_map)


def test_two_layers_that_learn_one_after_the_other():
    """Forward-Forward's step, positive half, written out."""
    weights = [torch.randn(128, 32, requires_grad=True), torch.randn(16, 128, requires_grad=True)]
    images = torch.randn(64, 32)

    def step():
        x = images
        for weight in weights:
            h = F.relu(F.linear(x, weight))
            F.softplus(4 - h.square().sum(1)).mean().backward()
            with torch.no_grad():
                weight.sub_(weight.grad, alpha=0.1)
            weight.grad = None
            x = h.detach()
            del h

    before = 4 * (128 * 32 + 16 * 128) + 4 * 64 * 32
    h, by_sample, scalar = 4 * 64 * 128, 4 * 64, 4
    # The peak is in the first layer's backward pass, at d(h^2)/dh = g * (2 * h^1): h, the power, its double and the
    # product are alive, one value per sample for g, the loss and its own gradient.
    by_hand = before + 4 * h + by_sample + 2 * scalar
    assert both(step, tensors=[*weights, images]) == (by_hand, by_hand)


def test_what_a_step_leaves_and_the_next_one_frees_counts_once():
    kept = [torch.zeros(256)]

    def step():
        kept[0] = torch.ones(256)  # one KiB replaces another: for a moment there are two

    assert allocated_bytes(step, CPU) == 2 * 1024
    assert allocated_bytes(step, CPU, lambda: kept) == 2 * 1024


def test_what_nobody_holds_but_the_step_reads_is_found():
    table = torch.zeros(1024)

    def step():
        return table[:256].clone()

    live = live_bytes(step)
    assert live.found == {table.data_ptr(): 4096}
    assert allocated_bytes(step, CPU, found=live.found, replaces=False) == live.peak == 4096 + 1024


def test_a_tensor_made_of_numbers_is_new():
    live = live_bytes(lambda: torch.tensor([1.0, 2.0]) + 1)
    assert (live.peak, live.found) == (16, {})


def test_on_cuda_it_is_what_is_held_and_the_peak_above_the_beginning(monkeypatch):
    steps = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: steps.append("reset"))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 5000)  # of which the step knows only one KiB
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 5512)
    held = torch.zeros(256)
    assert allocated_bytes(lambda: steps.append("step"), torch.device("cuda"), lambda: [held]) == 1024 + 512
    assert steps == ["step", "reset", "step"]


def test_without_the_profiler_it_is_not_known(monkeypatch):
    monkeypatch.setattr(torch.profiler, "kineto_available", lambda: False)
    assert allocated_bytes(lambda: torch.zeros(256), CPU) is None


PROGRAM = """
import torch
from bench.measure.allocator import allocated_bytes
torch.set_num_threads(1)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.BatchNorm2d(16), torch.nn.ReLU())
images = torch.randn(32, 3, 28, 28)
def step():
    net.zero_grad()
    net(images).mean().backward()
print(allocated_bytes(step, torch.device("cpu"), lambda: [*net.parameters(), *net.buffers(), images]))
"""


@pytest.mark.slow
def test_it_repeats_from_process_to_process_and_is_silent():
    settings = [{"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2", **KEEP_FREED_MEMORY}]
    said = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM], env={**os.environ, **each}, capture_output=True, text=True, check=True
        )
        for each in settings
    ]
    assert said[0].stdout == said[1].stdout
    assert int(said[0].stdout) > 4 * 32 * 16 * 28 * 28  # a map
    assert [each.stderr for each in said] == ["", ""]


def peaks(subject):
    """Peaks of live and allocated bytes, of a step in the first and last epoch, and of each strategy's prediction."""
    learner = subject.learner()
    images, labels = next(batches(0, learner))

    def step():
        return learner.train_step(images, labels)

    def held():
        yield from tensors_of(learner.state_dict())
        for parameter in learner.parameters():
            yield parameter
            yield from tensors_of(parameter.grad)
        yield from (images, labels)

    for epoch in (0, EPOCHS - 1):
        learner.begin_epoch(epoch)
        step()
        live = live_bytes(step, held())
        yield live.peak, allocated_bytes(step, CPU, held, live.found)
    for strategy in learner.strategies:
        yield probe.prediction_memory(learner, strategy, images)


@pytest.mark.parametrize("subject", METHODS, ids=lambda each: "-".join([each.name, *map(str, each.settings.values())]))
def test_no_method_has_more_live_bytes_than_allocated_ones(subject):
    """Live bytes are seen between operations, allocated ones always; and both repeat."""
    with subject.surroundings():
        found = list(peaks(subject))
        assert found == list(peaks(subject))
    assert all(0 < live <= allocated for live, allocated in found)
