import pytest
import torch

from bench.errors import UserError
from bench.running import parts
from bench.suites import Overrides, cells, load


def cell(**changes):
    overrides = Overrides(methods="asge", threads=1, loader="memory")
    return cells(load("smoke"), overrides)[0].model_copy(update=changes)


def images(loader):
    return torch.cat([images for images, _ in loader.epoch(0)])


def test_images_of_all_splits_are_resized_and_scaled():
    with parts.data(cell(resize=12, scaling="rms", augmentation=("flip",)), None) as data:
        for loader in (data.train, data.validation, data.test):
            found = images(loader)
            assert found.shape[1:] == (1, 12, 12)
            torch.testing.assert_close(found.square().mean((1, 2, 3)), torch.ones(len(found)))
    spec = cell(resize=12)
    learner, _ = parts.learner(spec, steps_per_epoch=1)
    assert parts.task_of(spec).shape == (1, 12, 12)
    assert learner.predict(torch.zeros(2, 1, 12, 12), "best").shape == (2, 10)


def test_validation_images_are_augmented_on_request_and_test_images_never():
    def both(**changes):
        with parts.data(cell(**changes), None) as data:
            return images(data.validation), images(data.test)

    plain, augmented = both(augmentation=("shift",)), both(augmentation=("shift",), augmented_validation=True)
    assert not torch.equal(plain[0], augmented[0])
    assert torch.equal(plain[1], augmented[1])
    assert torch.equal(augmented[0], both(augmentation=("shift",), augmented_validation=True)[0])


def test_a_random_split_holds_back_what_the_cell_says():
    split = parts.split(cell(split="random", validation_samples=200), None)
    assert (len(split.validation), len(split.train)) == (200, 1097)
    with pytest.raises(UserError, match="validation_samples must be from 1 to 1296 for digits, got 1497"):
        parts.split(cell(validation_samples=1497), None)
