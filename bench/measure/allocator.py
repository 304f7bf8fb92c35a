"""Allocated bytes: what a step takes from PyTorch's allocator, by the allocator's own account.

Live bytes (``bench.measure.memory``) are seen between operations. What an operation takes inside and frees before it
ends is seen only by the allocator: copies in another memory layout, buffers of a convolution, sums that become a mean.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._C._profiler import _ExtraFields_Allocation
from torch.autograd.profiler import profile, record_function

from bench.measure.memory import Blocks, blocks

_MEASURED = "the measured step"
_LOG_LEVEL = "KINETO_LOG_LEVEL"
_SILENT = "99"


def allocated_bytes(
    step: Callable[[], Any],
    device: torch.device,
    held: Callable[[], Iterable[Tensor]] = tuple,
    found: Mapping[int, int] | None = None,
    *,
    replaces: bool = True,
) -> int | None:
    """Peak bytes that the allocator has given out at once during ``step``: live bytes and what operations take inside.

    What is there before the step counts once: ``held``, ``found`` and what an earlier step has left. On top of it comes
    the most that the step takes beyond what it frees, as requested: a CPU's allocator reports no rounding, CUDA's
    counters round up to 512 bytes. Memory that a library takes from the system itself is not seen.

    Args:
        step: what to run.
        device: where it runs.
        held: gives the tensors that are alive before a step.
        found: storages that are alive too, see ``bench.measure.memory.LiveBytes``.
        replaces: whether a step frees what an earlier one has left, such as old gradients. Then it runs twice, since
            the events have the size of a block only if they have its allocation too.

    Returns:
        None on a CPU if this PyTorch was built without its profiler.
    """
    measure = _on_cuda if device.type == "cuda" else _on_cpu
    first = step if replaces else lambda: None
    with _without_collection():
        return measure(first, step, device, lambda: {**(found or {}), **blocks(held())})


def _on_cuda(
    first: Callable[[], Any], step: Callable[[], Any], device: torch.device, before: Callable[[], Blocks]
) -> int:
    first()
    known = sum(before().values())
    torch.cuda.reset_peak_memory_stats(device)
    start = torch.cuda.memory_allocated(device)
    step()
    return known + torch.cuda.max_memory_allocated(device) - start


def _on_cpu(
    first: Callable[[], Any], step: Callable[[], Any], _: torch.device, before: Callable[[], Blocks]
) -> int | None:
    if not torch.profiler.kineto_available():
        return None
    with _quiet(), profile(profile_memory=True, use_kineto=True) as profiler:
        first()
        known = before()
        with record_function(_MEASURED):
            step()
    earlier, within = _events(profiler)
    alive: Blocks = {}
    for address, size in earlier:
        _apply(alive, address, size)
    alive |= known
    now = peak = sum(alive.values())
    for address, size in within:
        now += _apply(alive, address, size)
        peak = max(peak, now)
    return peak


def _apply(alive: Blocks, address: int, size: int) -> int:
    """Apply an event to the blocks that are alive; returns the change of their bytes."""
    before = alive.pop(address, 0)
    if size < 0:
        return -before
    alive[address] = size
    return size - before


def _events(profiler: profile) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The allocator's events before the measured step and within it: address and bytes, negative where freed.

    PyTorch makes its own memory timeline of the same events. An exported trace has them too, but needs a disk.
    """
    if profiler.kineto_results is None:
        raise RuntimeError("the profiler has no events")
    waiting = profiler.kineto_results.experimental_event_tree()[::-1]
    found: list[tuple[int, int, int]] = []
    start = end = 0
    while waiting:
        event = waiting.pop()
        waiting += event.children[::-1]
        fields = event.extra_fields
        if isinstance(fields, _ExtraFields_Allocation):
            if fields.device.type == "cpu":
                found.append((event.start_time_ns, fields.ptr, fields.alloc_size))
        elif event.name == _MEASURED:
            start, end = event.start_time_ns, event.end_time_ns
    found.sort(key=lambda each: each[0])
    earlier = [(address, size) for when, address, size in found if when < start]
    return earlier, [(address, size) for when, address, size in found if start <= when <= end]


@contextmanager
def _quiet() -> Iterator[None]:
    """The profiler's library says on standard error when it starts and stops; it asks this variable once whether to."""
    before = os.environ.get(_LOG_LEVEL)
    os.environ.setdefault(_LOG_LEVEL, _SILENT)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_LOG_LEVEL]


@contextmanager
def _without_collection() -> Iterator[None]:
    """No garbage is collected inside: when it is, would depend on what ran before."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
