import csv
from pathlib import Path

import pytest
import torch

from bench.data.sets.tasks import CIFAR10, CIFAR100, DIGITS, FASHION_MNIST, MNIST, Task, get_task, task_names
from bench.errors import UserError

TASKS = [DIGITS, MNIST, FASHION_MNIST, CIFAR10, CIFAR100]
PUBLISHED = Path(__file__).parents[4] / "results" / "reference" / "published.csv"


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_tasks_are_consistent_and_registered(task: Task) -> None:
    assert get_task(task.name) is task
    assert task.name in task_names()
    assert len(task.mean) == len(task.std) == task.shape[0]
    assert all(len(file.md5) == 32 for file in task.files)
    assert bool(task.files) == bool(task.fetchers)


def test_titles_are_those_of_the_published_results() -> None:
    with PUBLISHED.open() as file:
        published = {row["dataset"] for row in csv.DictReader(file)}
    assert {task.title for task in TASKS if task is not DIGITS} <= published


def test_unknown_task() -> None:
    with pytest.raises(UserError, match="unknown task 'cifar': did you mean 'cifar10'"):
        get_task("cifar")


@pytest.mark.parametrize("task", [MNIST, FASHION_MNIST, CIFAR10, CIFAR100], ids=lambda task: task.name)
def test_reading_without_files_names_the_first(task: Task, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"lacks {task.files[0].path} of {task.name}"):
        task.read(tmp_path)


@pytest.mark.parametrize("task", [MNIST, CIFAR10], ids=lambda task: task.name)
def test_reading_damaged_files_names_the_file(task: Task, tmp_path: Path) -> None:
    for file in task.files:
        path = tmp_path / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"short")
    with pytest.raises(UserError, match=rf"{task.files[0].path} is damaged \(truncated: 5 bytes of"):
        task.read(tmp_path)


def test_digits_needs_nothing(tmp_path: Path) -> None:
    arrays = DIGITS.read(tmp_path)
    assert arrays.train_images.dtype == torch.uint8
    assert arrays.train_images.is_contiguous()
    assert arrays.train_images.shape[1:] == DIGITS.shape
    assert arrays.train_labels.dtype == torch.int64
    assert arrays.train_labels.unique().tolist() == list(range(DIGITS.classes))
