"""Train, validation and test splits: the same for every seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench.data.sets.arrays import Arrays, Images
from bench.data.sets.stratify import stratified
from bench.data.sets.tasks import Task
from bench.errors import UserError
from bench.seeds import generator

Source = Literal["train", "test"]
Kind = Literal["stratified", "random"]


@dataclass(frozen=True)
class Split:
    """Samples for one purpose.

    Attributes:
        images: (N, C, H, W) uint8, contiguous, or N files.
        labels: (N,) int64.
        indices: (N,) int64, ascending: positions of the samples in the official training or test set.
        source: which of the two.
    """

    images: Images
    labels: Tensor
    indices: Tensor
    source: Source

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, position: int) -> str:
        """Description of a sample for errors."""
        if isinstance(self.images, Tensor):
            return f"sample {int(self.indices[position])} of the {self.source} set"
        return str(self.images.path(position))


@dataclass(frozen=True)
class Splits:
    """The three splits of a task; no sample is in two of them."""

    train: Split
    validation: Split
    test: Split


def split(
    task: Task,
    arrays: Arrays,
    *,
    train_limit: int | None = None,
    kind: Kind = "stratified",
    validation_samples: int | None = None,
) -> Splits:
    """Split a data set into training, validation and test samples.

    Validation is a draw from the official training set that depends only on ``task.split_seed``, never on a cell's
    seed: all cells are validated on the same samples, and none trains on them. The test set is the official one,
    unchanged.

    Args:
        task: gives the split seed, and the number of validation samples.
        arrays: the data set.
        train_limit: keep this many training samples, stratified and fixed in the same way; None keeps all.
        kind: validation samples are drawn with the same proportions of classes ("stratified"), or from all alike.
        validation_samples: their number; None for the task's own.

    Raises:
        UserError: if ``train_limit`` is not between 1 and the number of samples left for training, or validation leaves
            none.
    """
    labels = arrays.train_labels
    wanted = task.validation_size if validation_samples is None else validation_samples
    if not 1 <= wanted < len(labels):
        raise UserError(f"validation_samples must be from 1 to {len(labels) - 1} for {task.name}, got {wanted}")
    if kind == "stratified":
        validation = stratified(labels, wanted, generator(task.split_seed, "validation"))
    else:
        order = torch.randperm(len(labels), generator=generator(task.split_seed, "random validation"))
        validation = order[:wanted].sort().values
    remaining = torch.ones(len(labels), dtype=torch.bool)
    remaining[validation] = False
    train = torch.nonzero(remaining).squeeze(1)
    if train_limit is not None:
        if not 1 <= train_limit <= len(train):
            raise UserError(f"train_limit must be from 1 to {len(train)} for {task.name}, got {train_limit}")
        train = train[stratified(labels[train], train_limit, generator(task.split_seed, "train_limit"))]
    test = torch.arange(len(arrays.test_labels))
    return Splits(
        train=Split(arrays.train_images[train], labels[train], train, "train"),
        validation=Split(arrays.train_images[validation], labels[validation], validation, "train"),
        test=Split(arrays.test_images, arrays.test_labels, test, "test"),
    )
