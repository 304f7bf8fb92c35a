"""Measurements that exist only on a GPU; skipped without one."""

import json

import pytest
import torch

from bench.measure import clock, energy, race
from bench.measure.allocator import allocated_bytes
from bench.measure.memory import PeakMemory

pytestmark = pytest.mark.gpu
CUDA = "cuda"


def test_the_clock_waits_for_the_device():
    device = torch.device(CUDA)
    a = torch.randn(4096, 4096, device=device)
    start = clock.now(device)
    for _ in range(20):
        a @ a
    waited = clock.now(device) - start
    assert clock.now(device) - start - waited < waited


def test_peaks_of_the_allocator_are_of_the_segment():
    device = torch.device(CUDA)
    memory = PeakMemory(device)
    torch.zeros(2**22, device=device)
    assert memory.peak() >= 2**24
    assert memory.reserved() >= 2**24
    memory.restart()
    assert memory.peak() < 2**24


def test_allocated_bytes_are_those_above_what_is_held():
    held = torch.zeros(2**18, device=CUDA)
    peak = allocated_bytes(lambda: torch.zeros(2**18, device=CUDA), torch.device(CUDA), lambda: [held])
    assert peak == 2 * 2**20


def test_the_energy_counter_gives_joules_or_says_why_not():
    counter = energy.counter(torch.device(CUDA))
    joules = counter.joules()
    assert (joules is None) == (counter.note is not None)


def test_a_race_on_the_device():
    a = torch.randn(512, 512, device=CUDA)
    run = race.run([lambda: a @ a, lambda: a @ a], torch.device(CUDA), rounds=3)
    assert 0.2 < run.ratio(0, 1)[0] < 5


def test_a_cell_on_the_device_gives_the_same_bits_twice_or_says_which_operations_do_not(bench):
    arguments = ["run", "mine.toml", "--device", "cuda", "--threads", "1", "--no-plots", "--format", "json"]
    first, second = (bench(*arguments, "--out", out) for out in ("one", "two"))
    assert first.returncode == second.returncode == 0, first.stderr
    for path in bench.folder.glob("one/*/record.json"):
        one = json.loads(path.read_text())
        two = json.loads((bench.folder / "two" / path.parent.name / path.name).read_text())
        if not one["nondeterministic"]:
            assert one["opening_losses"] == two["opening_losses"]
            assert [part["accuracy"] for part in one["strategies"]] == [part["accuracy"] for part in two["strategies"]]
