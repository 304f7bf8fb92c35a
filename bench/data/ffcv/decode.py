"""Decoders for FFCV's pipeline that work on a whole batch and are not compiled.

FFCV's own decoders are compiled by numba in every process, which takes ten seconds and more. These gather raw images in
one NumPy operation and pass JPEG files to FFCV's C library, sample by sample, in threads. They take a `Request` in
place of indices.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from ffcv.libffcv import ctypes_imdecode
from ffcv.pipeline.operation import Operation
from ffcv.pipeline.state import State
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bench.data.batches.framing import Framing, reduced, reduction, resample
from bench.data.batches.heartbeat import Heartbeat
from bench.data.batches.plan import Plan, framed

JPEG = 0
"""Mode of a JPEG image in FFCV's format; the other mode is raw pixels."""


@dataclass(frozen=True)
class Request:
    """One batch requested from FFCV's worker.

    Attributes:
        plan: its samples and random numbers.
        rows: (B,) int64, rows of its samples in the file.
        framing: the part of each image that is used.
        keeps: whether images of the task's shape are used as they are.
        heartbeat: told of each sample before it is decoded.
    """

    plan: Plan
    rows: NDArray[np.int64]
    framing: Framing
    keeps: bool
    heartbeat: Heartbeat

    def __len__(self) -> int:
        return len(self.rows)


class _WholeBatch(Operation):  # type: ignore[misc]  # FFCV has no types
    """An operation that allocates its own tensors: FFCV's few buffers are not used, so nothing has to be copied."""

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, None]:
        return replace(previous_state, jit_mode=True), None

    def generate_code(self) -> Callable[[Request, None, NDArray[Any], tuple[Any, ...]], Tensor]:
        def decode(request: Request, _: None, metadata: NDArray[Any], storage: tuple[Any, ...]) -> Tensor:
            return self._decoded(request, metadata[request.rows], storage[0])

        return decode

    def _decoded(self, request: Request, metadata: NDArray[Any], content: NDArray[np.uint8]) -> Tensor:
        raise NotImplementedError


class Labels(_WholeBatch):
    """The field of labels, (B,) int64."""

    def _decoded(self, request: Request, metadata: NDArray[Any], content: NDArray[np.uint8]) -> Tensor:  # noqa: ARG002
        return torch.from_numpy(metadata.astype(np.int64))


class RawArrays(_WholeBatch):
    """Arrays of one shape (C, H, W) -> (B, C, *side) uint8."""

    def _decoded(self, request: Request, metadata: NDArray[Any], content: NDArray[np.uint8]) -> Tensor:
        request.heartbeat.beat(int(request.plan.positions[0]))
        size = int(np.prod(self.field.shape))
        # A view with one row per place where an array might begin, without memory of its own.
        rows = np.lib.stride_tricks.as_strided(content, (content.size - size + 1, size), (1, 1), writeable=False)
        images = torch.from_numpy(np.asarray(rows[metadata.astype(np.int64)])).view(len(request), *self.field.shape)
        return images if request.keeps else framed(images, request.plan, request.framing, request.heartbeat.beat)


class Pictures(_WholeBatch):
    """Colour images of any size, raw or JPEG -> (B, 3, *side) uint8.

    Args:
        sizes: stored bytes of every sample, by row.
        threads: executor that decodes in parallel.
        workers: its number of threads.
    """

    def __init__(self, sizes: NDArray[np.int64], threads: Executor, workers: int) -> None:
        super().__init__()
        self._sizes = sizes
        self._threads = threads
        self._workers = workers

    def _decoded(self, request: Request, metadata: NDArray[Any], content: NDArray[np.uint8]) -> Tensor:
        plan = request.plan
        shapes = np.stack([metadata["height"], metadata["width"]], axis=1).astype(np.int64)
        boxes = request.framing.boxes(plan.frames, shapes).tolist()
        out = torch.empty(len(request), 3, *plan.side, dtype=torch.uint8)
        pointers, sizes = metadata["data_ptr"].tolist(), self._sizes[request.rows].tolist()
        modes, heights, widths = metadata["mode"].tolist(), metadata["height"].tolist(), metadata["width"].tolist()
        positions = plan.positions.tolist()

        def some(samples: Sequence[int]) -> None:
            for k in samples:
                request.heartbeat.beat(positions[k])
                stored = content[pointers[k] : pointers[k] + sizes[k]]
                by = 1
                if modes[k] == JPEG:
                    by = reduction(boxes[k], plan.side)
                    pixels = _decoded(stored, heights[k], widths[k], by)
                else:
                    # Copied: PyTorch warns about memory that is not writable.
                    pixels = stored.reshape(heights[k], widths[k], 3).copy()
                box = reduced(boxes[k], by, pixels.shape[:2])
                out[k] = resample(torch.from_numpy(pixels).permute(2, 0, 1), box, plan.side)

        shares = [range(first, len(request), self._workers) for first in range(min(self._workers, len(request)))]
        list(self._threads.map(some, shares))
        return out


def _decoded(stored: NDArray[np.uint8], height: int, width: int, by: int) -> NDArray[np.uint8]:
    """Decode a JPEG at one ``by``-th of its size: (ceil(height / by), ceil(width / by), 3)."""
    pixels = np.empty((-(-height // by), -(-width // by), 3), dtype=np.uint8)
    source, target = stored.ctypes.data, pixels.ctypes.data
    failed = ctypes_imdecode(source, stored.size, height, width, target, height, width, 0, 0, 1, by, False, False)
    if failed:
        # FFCV's library also reports harmless oddities, such as bytes between two markers. Pillow can tell the
        # difference.
        with Image.open(io.BytesIO(stored.tobytes())) as image:
            image.draft("RGB", (width // by, height // by))
            pixels = np.array(image.convert("RGB"))
    return pixels
