"""Tasks: a data set with its splits and normalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench import registry
from bench.data.sets import cifar, digits, idx
from bench.data.sets.arrays import Arrays
from bench.data.sets.debian import DebianInstalled, DebianPackage
from bench.data.sets.fetchers import Fetcher, Torchvision
from bench.data.sets.files import DataFile
from bench.data.sets.folders import Folder
from bench.data.sets.sources import locate

__all__ = ["CIFAR10", "CIFAR100", "DIGITS", "FASHION_MNIST", "MNIST", "Arrays", "Task", "get_task", "task_names"]

GROUP = "bench.tasks"


@dataclass(frozen=True)
class Task:
    """A data set as methods see it. Tasks of other projects need these attributes, not this class.

    Attributes:
        name: on the command line and of the entry point.
        title: in tables, and in the column ``dataset`` of published.csv.
        shape: (channels, height, width) of an image.
        classes: number of labels, which run from 0.
        mean: of the official training pixels in [0, 1], per channel.
        std: their deviation, per channel.
        validation_size: number of samples taken from the official training set for validation.
        test_size: number of samples in the test set.
        read: reads the data from a folder, or from where `bench.data.sets.sources` finds it if None; raises a
            UserError if files are missing or damaged.
        files: the files that ``read`` reads, with checksums; optional.
        fetchers: ways to get the files, best first; optional.
        kind: what is predicted.
        split_seed: determines the validation samples.
        superclasses: the superclass of every class, if the data set has them.
        class_names: a name for every class, for figures; optional.
        folder: location of the images, for a task of image folders; optional.
        evaluation_share: side of the central square used in evaluation relative to an image's shorter side, for images
            of any size.
    """

    name: str
    title: str
    shape: tuple[int, int, int]
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    validation_size: int
    test_size: int
    read: Callable[[Path | None], Arrays]
    files: tuple[DataFile, ...] = ()
    fetchers: tuple[Fetcher, ...] = ()
    kind: Literal["classification"] = "classification"
    split_seed: int = 0
    superclasses: tuple[int, ...] | None = None
    class_names: tuple[str, ...] = ()
    folder: Folder | None = None
    evaluation_share: float = 1.0


def task_names() -> list[str]:
    """The names of all registered tasks, sorted."""
    return registry.names(GROUP)


def get_task(name: str) -> Task:
    """Look up a task by name.

    Raises:
        UserError: if there is none; names the closest one.
    """
    task: Task = registry.load(GROUP, "task", name)
    return task


def _read_mnist(data_dir: Path | None) -> Arrays:
    return idx.read(locate(MNIST, data_dir), MNIST.files)


def _read_fashion_mnist(data_dir: Path | None) -> Arrays:
    return idx.read(locate(FASHION_MNIST, data_dir), FASHION_MNIST.files)


def _read_cifar10(data_dir: Path | None) -> Arrays:
    files = CIFAR10.files
    return cifar.read(locate(CIFAR10, data_dir), files[:5], files[5:6], label_key="labels")


def _read_cifar100(data_dir: Path | None) -> Arrays:
    files = CIFAR100.files
    return cifar.read(
        locate(CIFAR100, data_dir), files[:1], files[1:2], label_key="fine_labels", superclasses=CIFAR100.superclasses
    )


DIGITS = Task(
    name="digits",
    title="digits",
    shape=(1, 8, 8),
    classes=10,
    mean=(0.3040,),
    std=(0.3749,),
    validation_size=200,
    test_size=digits.TEST_SIZE,
    read=digits.read,
)

MNIST = Task(
    name="mnist",
    title="MNIST",
    shape=(1, 28, 28),
    classes=10,
    mean=(0.1307,),
    std=(0.3081,),
    validation_size=5000,
    test_size=10000,
    read=_read_mnist,
    files=(
        DataFile("MNIST/raw/train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb", 47040016),
        DataFile("MNIST/raw/train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624", 60008),
        DataFile("MNIST/raw/t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea", 7840016),
        DataFile("MNIST/raw/t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637", 10008),
    ),
    fetchers=(Torchvision("MNIST"),),
)

FASHION_MNIST = Task(
    name="fashion-mnist",
    title="FashionMNIST",
    shape=(1, 28, 28),
    classes=10,
    mean=(0.2860,),
    std=(0.3530,),
    validation_size=5000,
    test_size=10000,
    read=_read_fashion_mnist,
    files=(
        DataFile("FashionMNIST/raw/train-images-idx3-ubyte", "f4a8712d7a061bf5bd6d2ca38dc4d50a", 47040016),
        DataFile("FashionMNIST/raw/train-labels-idx1-ubyte", "9018921c3c673c538a1fc5bad174d6f9", 60008),
        DataFile("FashionMNIST/raw/t10k-images-idx3-ubyte", "8181f5470baa50b63fa0f6fddb340f0a", 7840016),
        DataFile("FashionMNIST/raw/t10k-labels-idx1-ubyte", "15d484375f8d13e6eb1aabb0c3f46965", 10008),
    ),
    fetchers=(DebianInstalled(), Torchvision("FashionMNIST"), DebianPackage()),
    class_names=("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"),
)

CIFAR10 = Task(
    name="cifar10",
    title="CIFAR-10",
    shape=(3, 32, 32),
    classes=10,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    validation_size=5000,
    test_size=10000,
    read=_read_cifar10,
    files=(
        DataFile("cifar-10-batches-py/data_batch_1", "c99cafc152244af753f735de768cd75f", 31035704),
        DataFile("cifar-10-batches-py/data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec", 31035320),
        DataFile("cifar-10-batches-py/data_batch_3", "54ebc095f3ab1f0389bbae665268c751", 31035999),
        DataFile("cifar-10-batches-py/data_batch_4", "634d18415352ddfa80567beed471001a", 31035696),
        DataFile("cifar-10-batches-py/data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb", 31035623),
        DataFile("cifar-10-batches-py/test_batch", "40351d587109b95175f43aff81a1287e", 31035526),
        DataFile("cifar-10-batches-py/batches.meta", "5ff9c542aee3614f3951f8cda6e48888", 158),
    ),
    fetchers=(Torchvision("CIFAR10"),),
    class_names=("airplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)

_CIFAR100_SUPERCLASSES = (
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7,
    6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10,
    16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16,
    12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
)  # fmt: skip

CIFAR100 = Task(
    name="cifar100",
    title="CIFAR-100",
    shape=(3, 32, 32),
    classes=100,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    validation_size=5000,
    test_size=10000,
    read=_read_cifar100,
    files=(
        DataFile("cifar-100-python/train", "16019d7e3df5f24257cddd939b257f8d"),
        DataFile("cifar-100-python/test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
        DataFile("cifar-100-python/meta", "7973b15100ade9c7d40fb424638fde48"),
    ),
    fetchers=(Torchvision("CIFAR100"),),
    superclasses=_CIFAR100_SUPERCLASSES,
)
