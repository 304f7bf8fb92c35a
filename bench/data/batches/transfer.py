"""Moves batches to the device.

On CUDA a batch is copied from pinned memory on a side stream while the previous step computes; augmentation and
normalisation follow on the device, in the same stream, and images end up channels_last, as convolutions want them.
Elsewhere a batch is prepared on demand.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from typing import Any

import torch
from torch import Tensor

from bench.data.batches.plan import Batch, Plan, Preparation

Stored = tuple[Tensor, Tensor, Plan]
"""Images (B, C, H, W) uint8 and labels (B,) int64 on the CPU, and the augmentations still to be applied."""


def prepared(stored: Iterator[Stored], prepare: Preparation, batch_size: int) -> Iterator[Batch]:
    """Training batches, in the order of the stored ones.

    Args:
        stored: stored batches: on CUDA one at a time, elsewhere as many as ``prepare`` takes together; closed, where
            possible, when the caller stops.
        prepare: augments and normalises, on its device.
        batch_size: of all batches but the last.
    """
    if prepare.device.type == "cuda":
        return _ahead(stored, prepare)
    return _when_asked_for(stored, prepare, batch_size)


def _when_asked_for(stored: Iterator[Stored], prepare: Preparation, batch_size: int) -> Generator[Batch, None, None]:
    with _closed(stored):
        for images, labels, plan in stored:
            yield from prepare.batches(images, labels, plan.numbers, batch_size)


def _ahead(stored: Iterator[Stored], prepare: Preparation) -> Generator[Batch, None, None]:
    """Training batches, each prepared on a side stream one batch ahead of the caller."""
    side = torch.cuda.Stream(prepare.device)

    def launch() -> Batch | None:
        item = next(stored, None)
        if item is None:
            return None
        images, labels, plan = item
        with torch.cuda.stream(side):
            # PyTorch's caching allocator waits for the copy before it reuses pinned memory.
            images, labels = prepare(images.pin_memory(), labels.pin_memory(), plan.numbers)
            return images.contiguous(memory_format=torch.channels_last), labels

    with _closed(stored):
        upcoming = launch()
        while upcoming is not None:
            here: Any = torch.cuda.current_stream(prepare.device)
            here.wait_stream(side)
            for tensor in upcoming:
                # Allocated on the side stream, used on this one: not to be reused until this one is done with it.
                tensor.record_stream(here)
            batch = upcoming
            yield batch
            # The caller, asking for the next batch, has queued its step: the following runs concurrently.
            del batch
            upcoming = launch()


def _closed(iterator: Iterator[Stored]) -> contextlib.AbstractContextManager[object]:
    """Closes a generator at the end; other iterators need no closing."""
    return contextlib.closing(iterator) if isinstance(iterator, Generator) else contextlib.nullcontext()
