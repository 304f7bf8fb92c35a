"""Data sets as folders of images, one folder per class, as torchvision's ``ImageFolder`` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from bench.data.sets.arrays import Arrays
from bench.data.sets.encoded import Encoded, Listing
from bench.data.sets.files import FileStatus
from bench.errors import UserError

ANNOTATIONS = "val_annotations.txt"
"""File next to Tiny-ImageNet's test images, which are all in one folder: one line per image, name and class first."""

Part = Literal["train", "test"]


@dataclass(frozen=True)
class Folder:
    """Location and number of a task's images.

    Attributes:
        train: folder of the official training set, relative to the data folder; has one folder per class.
        test: the same of the official test set.
        classes: number of classes.
        train_size: number of training images.
        test_size: number of test images.
        advice: what to download and where to put it, the second half of a sentence.
    """

    train: str
    test: str
    classes: int
    train_size: int
    test_size: int
    advice: str

    @property
    def parts(self) -> Mapping[Part, tuple[str, int]]:
        """Path and number of images of both sets."""
        return {"train": (self.train, self.train_size), "test": (self.test, self.test_size)}


def listing(root: Path, folder: Folder, part: Part) -> Listing:
    """The files of one set, by class and name; labels are the alphabetical ranks of the classes.

    Raises:
        UserError: if the folder, a class or an image is missing, or there are too many.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS, find_classes, make_dataset

    path, expected = folder.parts[part]
    place = root / path
    try:
        _, numbers = find_classes(str(root / folder.train))
        if len(numbers) != folder.classes:
            raise UserError(f"{root / folder.train} has {len(numbers)} folders of classes, expected {folder.classes}")
        if (place / ANNOTATIONS).is_file():
            samples = _annotated(place, numbers)
        else:
            _, own = find_classes(str(place))
            if own != numbers:
                odd = sorted(set(own) ^ set(numbers))[0]
                raise UserError(
                    f"{place} and {root / folder.train} differ in class {odd!r}; they need the same folders"
                )
            samples = make_dataset(str(place), numbers, extensions=IMG_EXTENSIONS)
    except FileNotFoundError as error:
        raise UserError(f"{place} cannot be read: {error}") from error
    if len(samples) != expected:
        raise UserError(f"{place} has {len(samples)} images, expected {expected}: {folder.advice}")
    names = tuple(str(Path(file).relative_to(root)) for file, _ in samples)
    return Listing(root, names, torch.tensor([label for _, label in samples]))


def _annotated(place: Path, numbers: Mapping[str, int]) -> list[tuple[str, int]]:
    """Images whose classes are in a file next to them."""
    samples = []
    for line in (place / ANNOTATIONS).read_text().splitlines():
        name, wanted = line.split("\t")[:2]
        if wanted not in numbers:
            raise UserError(f"{place / ANNOTATIONS} lists {name} with class {wanted!r}, which has no training images")
        samples.append((str(place / "images" / name), numbers[wanted]))
    return sorted(samples)


def read(root: Path, folder: Folder) -> Arrays:
    """List the files of both sets; they are decoded on demand.

    Raises:
        UserError: see ``listing``.
    """
    train, test = listing(root, folder, "train"), listing(root, folder, "test")
    return Arrays(Encoded.all(train), train.labels, Encoded.all(test), test.labels)


def verify(root: Path, folder: Folder) -> list[FileStatus]:
    """Check both sets: whether all classes and images are there."""
    return [_state(root, folder, part) for part in folder.parts]


def _state(root: Path, folder: Folder, part: Part) -> FileStatus:
    path, _ = folder.parts[part]
    if not (root / path).is_dir():
        return FileStatus(path, "missing", "no such folder")
    try:
        found = listing(root, folder, part)
    except UserError as error:
        return FileStatus(path, "damaged", str(error))
    return FileStatus(path, "ok", f"{len(found)} images")
