from dataclasses import replace

import pytest
import torch

from bench.data.sets.arrays import Arrays
from bench.data.sets.splits import split
from bench.data.sets.tasks import DIGITS, Task
from bench.errors import UserError


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    """Image n is filled with n, label n is n mod 4."""
    numbers = torch.arange(120)
    images = numbers.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 6, 5).contiguous()
    return Arrays(images[:80], numbers[:80] % 4, images[80:], numbers[80:] % 4)


def test_splits_divide_the_official_sets(colours: Task, arrays: Arrays) -> None:
    splits = split(colours, arrays)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (72, 8, 40)
    together = torch.cat([splits.train.indices, splits.validation.indices])
    assert torch.equal(together.sort().values, torch.arange(80))
    assert (splits.train.source, splits.validation.source, splits.test.source) == ("train", "train", "test")


def test_indices_say_where_samples_come_from(colours: Task, arrays: Arrays) -> None:
    splits = split(colours, arrays, train_limit=20)
    for part, first in ((splits.train, 0), (splits.validation, 0), (splits.test, 80)):
        assert torch.equal(part.images[:, 0, 0, 0].long(), part.indices + first)
        assert torch.equal(part.labels, (part.indices + first) % 4)
        assert part.images.is_contiguous()


def test_splits_are_stratified(colours: Task, arrays: Arrays) -> None:
    splits = split(colours, arrays, train_limit=20)
    assert torch.bincount(splits.validation.labels).tolist() == [2] * 4
    assert torch.bincount(splits.train.labels).tolist() == [5] * 4


def test_only_the_split_seed_moves_the_validation_samples(colours: Task, arrays: Arrays) -> None:
    torch.manual_seed(1)
    first = split(colours, arrays)
    torch.manual_seed(2)
    again = split(colours, arrays, train_limit=30)
    other = split(replace(colours, split_seed=1), arrays)
    assert torch.equal(first.validation.indices, again.validation.indices)
    assert not torch.equal(first.validation.indices, other.validation.indices)
    assert set(again.train.indices.tolist()) <= set(first.train.indices.tolist())


def test_a_random_split_has_its_own_number_of_samples_and_the_same_for_every_run(colours: Task, arrays: Arrays) -> None:
    splits = split(colours, arrays, kind="random", validation_samples=30)
    assert (len(splits.train), len(splits.validation)) == (50, 30)
    together = torch.cat([splits.train.indices, splits.validation.indices])
    assert torch.equal(together.sort().values, torch.arange(80))
    assert torch.bincount(splits.validation.labels).tolist() != [8, 8, 7, 7]
    torch.manual_seed(3)
    again = split(colours, arrays, kind="random", validation_samples=30)
    assert torch.equal(again.validation.indices, splits.validation.indices)
    stratified = split(colours, arrays, validation_samples=30)
    assert sorted(torch.bincount(stratified.validation.labels).tolist()) == [7, 7, 8, 8]


@pytest.mark.parametrize("wanted", [0, 80])
def test_validation_samples_out_of_range(colours: Task, arrays: Arrays, wanted: int) -> None:
    with pytest.raises(UserError, match=f"validation_samples must be from 1 to 79 for colours, got {wanted}"):
        split(colours, arrays, validation_samples=wanted)


@pytest.mark.parametrize("limit", [0, 73])
def test_train_limit_out_of_range(colours: Task, arrays: Arrays, limit: int) -> None:
    with pytest.raises(UserError, match=f"train_limit must be from 1 to 72 for colours, got {limit}"):
        split(colours, arrays, train_limit=limit)


def test_digits_has_the_sizes_it_says() -> None:
    splits = split(DIGITS, DIGITS.read(None))
    assert len(splits.validation) == DIGITS.validation_size == 200
    assert len(splits.test) == DIGITS.test_size == 500
    assert len(splits.train) == 1797 - 700
