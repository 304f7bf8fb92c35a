"""PyTorch's DataLoader with torchvision's transforms: the conventional loader, which the others are compared with.

Samples are transformed one by one in worker processes. Their random numbers come from the batch's plan, so that they
get the same pixels as from the other loaders.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cached_property
from multiprocessing.util import get_temp_dir
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from bench.data.batches import digest, heartbeat
from bench.data.batches.augment import AUGMENTATIONS
from bench.data.batches.framing import reduced, reduction
from bench.data.batches.plan import Batch, Plan, Preparation, batch_count
from bench.data.sets.encoded import decoded, opened
from bench.data.sets.splits import Split
from bench.errors import LoaderError

_IDLE = -1.0
_CPU = torch.device("cpu")

Item = tuple[int, list[float], list[list[int]], tuple[int, int], bool]
"""Position, numbers of the frame, numbers of each augmentation, side, and whether images are used as they are.

Plain values: every tensor would need a file descriptor to reach the worker.
"""


class _Drawn(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """An augmentation as one of torchvision's transforms, with the numbers that the plan has drawn for a sample.

    Attributes:
        numbers: must be set before every call.
    """

    numbers: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        self._single = AUGMENTATIONS[name].single

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:  # noqa: ARG002 -- torchvision's
        return self._single(inpt, self.numbers)


def _scaling(preparation: Preparation) -> list[v2.Transform]:
    """The last transforms of a sample."""
    if preparation.scaling == "standard":
        mean, std = preparation.mean[0, :, 0, 0].tolist(), preparation.std[0, :, 0, 0].tolist()
        return [v2.ToDtype(torch.float32), v2.Normalize(mean, std)]
    return [v2.Lambda(lambda image: preparation.scaled(image.as_subclass(Tensor)[None])[0])]


class _Lazily:
    """An iterable that calls a function for a new iterator each time."""

    def __init__(self, items: Callable[[], Iterator[list[Item]]]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[list[Item]]:
        return self._items()


class _Samples(Dataset[tuple[Tensor, Tensor] | str]):
    """One sample at a time; a failure is returned as text that names the sample and the error.

    Attributes:
        signs: (W, 2) float64 in shared memory: each worker's current sample, and since when.
    """

    def __init__(self, split: Split, preparation: Preparation, signs: Tensor) -> None:
        self._split = split
        self._prepare = preparation
        self._drawn = [_Drawn(name) for name in preparation.augmentation]
        self._transform = v2.Compose([v2.ToImage(), *self._drawn, *_scaling(preparation)])
        self.signs = signs

    def __getitem__(self, item: Item) -> tuple[Tensor, Tensor] | str:
        position, frame, numbers, side, keeps = item
        info: Any = get_worker_info()
        self.signs[info.id, 1] = time.monotonic()
        self.signs[info.id, 0] = position
        try:
            for transform, drawn in zip(self._drawn, numbers, strict=True):
                transform.numbers = torch.tensor(drawn)
            image: Tensor = self._transform(self._framed(position, frame, side, keeps))
            return image.as_subclass(Tensor), self._split.labels[position]
        except LoaderError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 -- re-raised by the consumer
            return f"{type(error).__name__}: {error} at {self._split.name(position)}"
        finally:
            self.signs[info.id, 0] = _IDLE

    def _framed(self, position: int, frame: list[float], side: tuple[int, int], keeps: bool) -> Tensor:
        images = self._split.images
        if isinstance(images, Tensor):
            image = images[position]
            if keeps:
                return image
            box = self._box(frame, tuple(image.shape[1:]))
        else:
            path = images.path(position)
            with opened(path) as file:
                whole = self._box(frame, (file.height, file.width))
                by = reduction(whole, side) if file.format == "JPEG" else 1
                image = decoded(file, path, by)
                box = reduced(whole, by, (image.shape[1], image.shape[2]))
        seen: Tensor = functional.resized_crop(image, *box, list(side), antialias=True)
        return seen

    def _box(self, frame: list[float], size: tuple[int, ...]) -> tuple[int, int, int, int]:
        numbers = torch.tensor([frame], dtype=torch.float64)
        top, left, height, width = self._prepare.framing.boxes(numbers, np.array([size])).tolist()[0]
        return top, left, height, width


def _collate(samples: list[tuple[Tensor, Tensor] | str]) -> Batch | str:
    """Collate a batch, or return the error of its first bad sample."""
    good = [sample for sample in samples if not isinstance(sample, str)]
    if len(good) < len(samples):
        return next(sample for sample in samples if isinstance(sample, str))
    batch: tuple[Tensor, Tensor] = tuple(default_collate(good))
    return batch


class TorchLoader:
    """Reads and transforms sample by sample in worker processes.

    Args:
        split: the samples.
        preparation: framing, augmentation, normalisation, device.
        batch_size: the last batch may be smaller.
        seed: determines order and augmentation, together with the epoch.
        shuffle: False keeps the split's order.
        workers: processes, at least one; None for PyTorch's thread count.
    """

    kind = "torch"

    def __init__(
        self,
        split: Split,
        preparation: Preparation,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        workers: int | None = None,
    ) -> None:
        self.samples = len(split)
        self._split = split
        self._prepare = preparation
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        self._workers = workers or torch.get_num_threads()
        self._closed = False

    def __len__(self) -> int:
        return batch_count(self.samples, self._batch_size)

    @cached_property
    def digest(self) -> str:
        """Digest of the split and its preparation, see ``bench.data.batches.digest``."""
        return digest.of_batches(self._split, self.epoch(0))

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch, the same on every call.

        Raises:
            LoaderError: if a sample cannot be read, a worker dies or hangs, or the loader is closed.
        """
        if self._closed:
            raise LoaderError("the loader is closed")
        signs = torch.full((self._workers, 2), _IDLE, dtype=torch.float64).share_memory_()
        device = self._prepare.device
        iterator = self._started(epoch, signs)
        try:
            while (batch := self._next(iterator, signs)) is not None:
                images, labels = batch
                if device.type == "cuda":
                    images = images.pin_memory().to(device, non_blocking=True, memory_format=torch.channels_last)
                    labels = labels.pin_memory().to(device, non_blocking=True)
                yield images, labels
        except LoaderError:
            raise
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            # PyTorch's handler of a worker's death raises anywhere in this process.
            raise LoaderError(f"a worker of loader 'torch' died: {str(error).splitlines()[0]}") from error
        finally:
            _end(iterator)

    def _started(self, epoch: int, signs: Tensor) -> Any:
        """PyTorch's iterator over an epoch, with its workers running."""
        get_temp_dir()  # created here, so workers share it and it is removed with this process
        with warnings.catch_warnings():
            # More workers than processors are slow, but not an error.
            warnings.filterwarnings("ignore", message="This DataLoader will create")
            loader = DataLoader(
                _Samples(self._split, self._prepare.on(_CPU), signs),
                batch_sampler=_Lazily(lambda: self._items(epoch)),
                num_workers=self._workers,
                collate_fn=_collate,
                timeout=heartbeat.POLL_S,
                generator=torch.Generator(),  # otherwise it draws from PyTorch's global one
                multiprocessing_context="fork",
            )
            iterator: Any = iter(loader)
        iterator._workers_done_event = _Ending(iterator._workers_done_event, iterator._workers)  # noqa: SLF001
        return iterator

    def _items(self, epoch: int) -> Iterator[list[Item]]:
        keeps = self._prepare.framing.keeps(epoch)
        plans = self._prepare.plans(
            self.samples, batch_size=self._batch_size, seed=self._seed, epoch=epoch, shuffle=self._shuffle
        )
        for plan in plans:
            yield _items_of(plan, keeps)

    def _next(self, iterator: Any, signs: Tensor) -> Batch | None:
        while True:
            try:
                batch: Batch | str | None = next(iterator, None)
            except (RuntimeError, EOFError, ConnectionError) as error:
                if "timed out" not in str(error):
                    # Which one depends on what PyTorch was doing when the worker died.
                    closed = f"DataLoader worker closed its connection ({type(error).__name__})"
                    reason = str(error).splitlines()[0] if isinstance(error, RuntimeError) else closed
                    raise LoaderError(f"a worker of loader 'torch' died at {self._at_work(signs)}: {reason}") from error
                self._check_silence(iterator, signs)
                continue
            if isinstance(batch, str):
                raise LoaderError(batch)
            return batch

    def _at_work(self, signs: Tensor) -> str:
        """Description of the sample that has been in work longest."""
        busy = signs[signs[:, 0] != _IDLE]
        if not len(busy):
            return "no sample"
        return self._split.name(int(busy[busy[:, 1].argmin(), 0]))

    def _check_silence(self, iterator: Any, signs: Tensor) -> None:
        busy = signs[signs[:, 0] != _IDLE]
        silent = time.monotonic() - float(busy[:, 1].min()) if len(busy) else 0.0
        if silent > heartbeat.SILENCE_S:
            for worker in iterator._workers:  # noqa: SLF001 -- otherwise PyTorch waits five seconds for the hung one
                worker.kill()
            raise LoaderError(
                f"a worker of loader 'torch' has been silent for {silent:.1f} seconds at {self._at_work(signs)}"
            )

    def close(self) -> None:
        """Nothing to release: the workers end with their epoch."""
        self._closed = True


class _Ending:
    """PyTorch's event that asks an epoch's workers to end, without waiting for a lock that is never released.

    A worker that is killed while it reads the event holds its lock forever.
    """

    def __init__(self, event: Any, workers: list[Any]) -> None:
        self._event = event
        self._workers = workers
        self._is_set = False

    def is_set(self) -> bool:
        """Whether the workers have been asked to end."""
        return self._is_set

    def set(self) -> None:
        """Ask the workers to end; kill them if that is not possible."""
        self._is_set = True
        if self._event._cond.acquire(timeout=heartbeat.POLL_S):  # noqa: SLF001
            self._event._cond.release()  # noqa: SLF001
            self._event.set()
        else:
            for worker in self._workers:
                worker.kill()


def _end(iterator: Any) -> None:
    """End an epoch's workers now instead of at garbage collection, and wait until they have exited.

    If one of them was killed, PyTorch's handler of that signal raises anywhere in this process: then try once more.
    """
    ended = False
    while not ended:
        with contextlib.suppress(RuntimeError):
            iterator._shutdown_workers()  # noqa: SLF001
            for worker in iterator._workers:  # noqa: SLF001
                if worker.is_alive():
                    worker.kill()
                    worker.join()
            ended = True


def _items_of(plan: Plan, keeps: bool) -> list[Item]:
    positions, frames = plan.positions.tolist(), plan.frames.tolist()
    numbers = [drawn.tolist() for drawn in plan.numbers]
    return [
        (position, frames[k], [drawn[k] for drawn in numbers], plan.side, keeps) for k, position in enumerate(positions)
    ]
