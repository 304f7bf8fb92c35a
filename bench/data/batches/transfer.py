"""Batches on their way to the device.

On CUDA a batch is copied out of pinned memory on a stream of its own while the step before it computes; augmentation
and normalisation follow on the device, in the same stream, and images end up channels_last, as convolutions want them.
Elsewhere a batch is prepared when it is asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from typing import Any

import torch
from torch import Tensor

from bench.data.batches.plan import Batch, Plan, Preparation

Stored = tuple[Tensor, Tensor, Plan]
"""Images (B, C, H, W) uint8 and labels (B,) int64 on the CPU, and what is still to be done to them."""


def prepared(stored: Iterator[Stored], prepare: Preparation, batch_size: int) -> Iterator[Batch]:
    """Batches as trained on, in the order in which they come.

    Args:
        stored: what was read, on CUDA a batch at a time, elsewhere as many as ``prepare`` wants together; closed where
            it can be when the caller has had enough.
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
    """One batch ahead of the caller, on a side stream."""
    side = torch.cuda.Stream(prepare.device)

    def launch() -> Batch | None:
        item = next(stored, None)
        if item is None:
            return None
        images, labels, plan = item
        with torch.cuda.stream(side):
            # Pinned memory comes from PyTorch's caching allocator, which waits for the copy before it reuses any.
            images, labels = prepare(images.pin_memory(), labels.pin_memory(), plan.numbers)
            return images.contiguous(memory_format=torch.channels_last), labels

    with _closed(stored):
        upcoming = launch()
        while upcoming is not None:
            here: Any = torch.cuda.current_stream(prepare.device)
            here.wait_stream(side)
            for tensor in upcoming:
                # Allocated on the side stream, used on this one: not to be reused before this one is done with it.
                tensor.record_stream(here)
            batch = upcoming
            yield batch
            # Asked for the next one, the caller has queued its step: what follows runs beside it.
            del batch
            upcoming = launch()


def _closed(iterator: Iterator[Stored]) -> contextlib.AbstractContextManager[object]:
    """Closes a generator at the end; other iterators have nothing to close."""
    return contextlib.closing(iterator) if isinstance(iterator, Generator) else contextlib.nullcontext()
