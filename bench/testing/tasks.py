"""Checks of every task."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.data import loaders
from bench.data.sets import encoded, sources, splits, tasks
from bench.data.sets.arrays import Arrays
from bench.data.sets.tasks import Task
from bench.errors import unknown
from bench.testing import hooks
from bench.testing.outcome import Check, NotOffered, require, require_equal


@dataclass(frozen=True)
class RegisteredTask:
    """A registered task and its data, which are read once.

    Attributes:
        name: as registered.
        data_dir: the folder of its files; None for the usual places.
    """

    name: str
    data_dir: Path | None = None
    variant = ""

    @classmethod
    def named(cls, name: str, data_dir: Path | None = None) -> RegisteredTask:
        """The task of that name; a UserError names the valid ones."""
        if name not in (names := tasks.task_names()):
            raise unknown("task", name, names)
        return cls(name, data_dir)

    def surroundings(self) -> contextlib.AbstractContextManager[Any]:
        """Nothing in particular."""
        return contextlib.nullcontext()

    @property
    def task(self) -> Task:
        """The task itself."""
        return tasks.get_task(self.name)

    @cached_property
    def arrays(self) -> Arrays:
        """The task's data, read once.

        Raises:
            NotOffered: if its files are not here.
        """
        if sources.find(self.task, self.data_dir) is None:
            raise NotOffered(f"the files of {self.name} are not here")
        return self.task.read(self.data_dir)


def it_has_what_a_task_needs(subject: RegisteredTask) -> None:
    """A task has all attributes of Task without a default, and no name that is almost one of the others."""
    hooks.require_parts(subject.task, "Task", hooks.TASK_NEEDS)
    hooks.require_no_near_miss(subject.task, hooks.TASK_MAY_OFFER)


def it_is_known_by_its_own_name_and_says_what_it_is(subject: RegisteredTask) -> None:
    """A task is registered under its name; shape, mean, std and superclasses fit each other."""
    task = subject.task
    require(tasks.get_task(task.name) is task, f"the name {subject.name!r} that it is registered as", repr(task.name))
    require(task.title, "a title", "none")
    require(len(task.shape) == 3, "a shape (channels, height, width)", task.shape)
    require(min(task.shape) > 0, "a shape of numbers above 0", task.shape)
    channels = task.shape[0]
    lengths = len(task.mean), len(task.std)
    require(lengths == (channels, channels), f"mean and std of {channels} channels", f"{lengths[0]} and {lengths[1]}")
    require(task.classes > 1, "two classes or more", task.classes)
    superclasses = getattr(task, "superclasses", None)
    if superclasses is not None:
        count = len(superclasses)
        require(count == task.classes, f"a superclass for each of {task.classes} classes", count)
        there = set(superclasses)
        require(there == set(range(max(superclasses) + 1)), "superclasses from 0 without a gap", sorted(there))


def its_data_are_as_it_says(subject: RegisteredTask) -> None:
    """Images are uint8 of the task's shape, labels are int64 and hold every class, in training and test set."""
    task, arrays = subject.task, subject.arrays
    for part, images, labels in (
        ("training", arrays.train_images, arrays.train_labels),
        ("test", arrays.test_images, arrays.test_labels),
    ):
        require(len(images) == len(labels), f"as many {part} labels as images ({len(images)})", len(labels))
        if isinstance(images, Tensor):
            expected = (len(labels), *task.shape)
            require(images.dtype == torch.uint8, f"torch.uint8 {part} images", images.dtype)
            require(images.shape == expected, f"{part} images of shape {expected}", tuple(images.shape))
            require(images.is_contiguous(), f"contiguous {part} images", f"strides {images.stride()}")
        require(labels.dtype == torch.int64, f"torch.int64 {part} labels", labels.dtype)
        wanted, there = set(range(task.classes)), set(labels.unique().tolist())
        found = f"without {sorted(wanted - there)[:9]}, and with {sorted(there - wanted)[:9]} beside them"
        require(there == wanted, f"{part} labels from 0 to {task.classes - 1}, every one of them", found)
    count = len(arrays.test_labels)
    require(count == task.test_size, f"test_size ({task.test_size}) test images", count)
    most = len(arrays.train_labels)
    fits = 0 < task.validation_size < most
    require(fits, f"a validation_size above 0 and below {most}, the size of the training set", task.validation_size)


def its_mean_and_std_are_those_of_its_training_pixels(subject: RegisteredTask) -> None:
    """Mean and std are those of the training pixels, to 0.01, or to 0.05 where images are files."""
    task = subject.task
    images, exact = subject.arrays.train_images, 0.01
    if not isinstance(images, Tensor):
        # Files: the usual figures, of a sample.
        images, exact = _some_pixels(images), 0.05
    for channel, (mean, deviation) in enumerate(zip(task.mean, task.std, strict=True)):
        counts = images[:, channel].flatten().bincount(minlength=256).double()
        levels = torch.arange(256, dtype=torch.float64) / 255
        found = (counts * levels).sum() / counts.sum()
        near = abs(found.item() - mean) <= exact
        require(near, f"mean {mean:g} of channel {channel}, within {exact:g} of that of the pixels", f"{found:.4f}")
        spread = ((counts * (levels - found) ** 2).sum() / counts.sum()).sqrt()
        near = abs(spread.item() - deviation) <= exact
        require(
            near, f"std {deviation:g} of channel {channel}, within {exact:g} of that of the pixels", f"{spread:.4f}"
        )


def _some_pixels(images: encoded.Encoded) -> Tensor:
    """Pixels of 500 files spread over all, (1, 3, 1, N)."""
    pixels = []
    for position in range(0, len(images), max(1, len(images) // 500)):
        with encoded.opened(images.path(position)) as image:
            pixels.append(encoded.decoded(image, images.path(position)).flatten(1))
    return torch.cat(pixels, dim=1)[None, :, None]


def its_splits_share_no_sample_and_are_the_same_each_time(subject: RegisteredTask) -> None:
    """Validation and training samples are the official training set, none twice, and the same at every call."""
    task, arrays = subject.task, subject.arrays
    one, other = splits.split(task, arrays), splits.split(task, arrays)
    counts = len(one.validation.labels), len(one.train.labels)
    require(counts[0] == task.validation_size, f"{task.validation_size} validation samples", counts[0])
    whole = len(arrays.train_labels)
    require(sum(counts) == whole, f"{whole} samples to train and validate on", sum(counts))
    require_equal(one.train.labels, other.train.labels, "the same training labels at every call")
    require_equal(one.validation.indices, other.validation.indices, "the same validation samples at every call")
    if isinstance(one.validation.images, Tensor) and isinstance(other.validation.images, Tensor):
        require_equal(one.validation.images, other.validation.images, "the same validation images at every call")


def a_loader_gives_the_same_batches_for_the_same_seed_and_epoch(subject: RegisteredTask) -> None:
    """Batches of 100 training samples repeat to the bit for a seed and epoch, and differ between epochs."""
    task = subject.task
    part = splits.split(task, subject.arrays, train_limit=100).train
    first, again, later = (_epoch(task, part, number) for number in (0, 0, 1))
    count = sum(len(labels) for _, labels in first)
    require(count == 100, "100 images in an epoch of 100", count)
    for (images, labels), (images_again, labels_again) in zip(first, again, strict=True):
        require(images.shape[1:] == task.shape, f"batches of images of shape {task.shape}", tuple(images.shape[1:]))
        require(images.dtype == torch.float32, "batches of torch.float32 images", images.dtype)
        require_equal(images, images_again, "the same images in the same epoch")
        require_equal(labels, labels_again, "the same labels in the same epoch")
    orders = [torch.cat([labels for _, labels in batches]) for batches in (first, later)]
    require(not torch.equal(*orders), "another order in another epoch", "the same one")


def _epoch(task: Task, part: splits.Split, number: int) -> list[tuple[Tensor, Tensor]]:
    kind = "memory" if isinstance(part.images, Tensor) else "torch"
    cpu = torch.device("cpu")
    loader = loaders.make_loader(kind, task, part, batch_size=32, seed=0, shuffle=True, augmentation=(), device=cpu)
    return [(images.clone(), labels.clone()) for images, labels in loader.epoch(number)]


CHECKS: tuple[Check[RegisteredTask], ...] = (
    Check(it_has_what_a_task_needs, first=True),
    Check(it_is_known_by_its_own_name_and_says_what_it_is),
    Check(its_data_are_as_it_says),
    Check(its_mean_and_std_are_those_of_its_training_pixels),
    Check(its_splits_share_no_sample_and_are_the_same_each_time),
    Check(a_loader_gives_the_same_batches_for_the_same_seed_and_epoch),
)
