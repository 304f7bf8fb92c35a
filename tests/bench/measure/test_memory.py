import os
import subprocess
import sys
import weakref

import pytest
import torch
import torch.nn.functional as F

from bench.measure.memory import PeakMemory, live_bytes, storage_bytes
from bench.running.local import KEEP_FREED_MEMORY

KIB = torch.zeros(256)  # float32: 1 KiB


def test_peak_counts_what_is_alive_at_once():
    def step():
        a = KIB + 1  # 1 KiB
        b = a * 2  # 2 KiB alive
        del a
        c = torch.cat([b, b])  # 3 KiB alive: b and c
        del b
        return c.sum()

    # KIB itself is read: 4 KiB in all; the sum is one more float, made when only c is left.
    assert live_bytes(step).peak == 4 * 1024


def test_views_count_once_and_in_place_operations_nothing():
    def step():
        a = torch.zeros(256)
        a.view(16, 16).t().add_(1)
        return a[:8]

    assert live_bytes(step).peak == 1024


def test_held_tensors_count_though_no_operation_touches_them():
    held = torch.zeros(1024)
    assert live_bytes(lambda: torch.zeros(256), [held, held.view(32, 32)]).peak == 5 * 1024


def test_saved_activations_of_a_backward_pass_are_seen():
    weight = torch.zeros(64, 64, requires_grad=True)
    x = torch.zeros(32, 64)

    def depth(layers):
        def step():
            y = x
            for _ in range(layers):
                y = torch.sin(F.linear(y, weight))
            y.sum().backward()
            weight.grad = None

        return live_bytes(step).peak

    # one more layer keeps its linear output and its sine: 2 * 32 * 64 floats
    assert depth(5) - depth(4) == 2 * 32 * 64 * 4


def test_repeats_exactly():
    def step():
        x = torch.randn(100, 100)
        return (x @ x).relu().sum()

    assert len({live_bytes(step).peak for _ in range(3)}) == 1


def test_storage_of_views_counts_once():
    a = torch.zeros(256)
    assert storage_bytes([a, a[:10], a.view(16, 16)]) == 1024
    assert storage_bytes([a, torch.zeros(256)]) == 2048


USE_AND_FREE = """
import torch
from bench.measure.memory import PeakMemory
early = torch.ones({early} * 2**20 // 4)
del early
peak = PeakMemory(torch.device("cpu"))
late = torch.ones({late} * 2**20 // 4)
del late
print(peak.peak(), peak.reserved())
"""


@pytest.mark.slow
@pytest.mark.parametrize("allocator", [{}, KEEP_FREED_MEMORY], ids=["usual", "that keeps what is freed"])
def test_peak_resident_size_sees_what_was_used_and_freed_and_not_what_came_before(allocator):
    """In a process of its own, which has nothing else to give back meanwhile."""
    said = subprocess.run(
        [sys.executable, "-c", USE_AND_FREE.format(early=128, late=64)],
        env={**os.environ, **allocator},
        capture_output=True,
        text=True,
        check=True,
    )
    peak, reserved = said.stdout.split()
    assert reserved == "None"
    if not os.access("/proc/self/clear_refs", os.W_OK):
        assert peak == "None"
    else:
        assert 60 * 2**20 < int(peak) < 96 * 2**20


def test_garbage_is_collected_before_the_segment_so_that_its_end_does_not_hide_what_is_used():
    cycle: list[object] = [torch.ones(64 * 2**20 // 4)]
    cycle.append(cycle)
    alive = weakref.ref(cycle[0])
    del cycle
    PeakMemory(torch.device("cpu"))
    assert alive() is None
