import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from bench.data.sets import digits
from bench.data.sets.tasks import DIGITS


def test_all_samples_are_there_once() -> None:
    arrays = digits.read()
    assert arrays.train_images.shape == (1297, 1, 8, 8)
    assert arrays.test_images.shape == (500, 1, 8, 8)
    found = torch.cat([arrays.train_images, arrays.test_images]).flatten(1).numpy()
    labels = torch.cat([arrays.train_labels, arrays.test_labels]).tolist()
    bunch = load_digits()
    expected = np.floor(bunch.data * 255 / 16 + 0.5).astype(np.uint8)
    assert sorted(zip(map(bytes, found), labels, strict=True)) == sorted(
        zip(map(bytes, expected), bunch.target.tolist(), strict=True)
    )
    assert found.max() == 255


def test_test_set_is_fixed_and_stratified() -> None:
    first, second = digits.read(), digits.read()
    assert torch.equal(first.test_images, second.test_images)
    share = torch.bincount(first.test_labels) / torch.bincount(torch.cat([first.train_labels, first.test_labels]))
    assert (share - 500 / 1797).abs().max() < 1 / 174


def test_normalisation_is_that_of_the_training_pixels() -> None:
    pixels = digits.read().train_images.double() / 255
    assert pixels.mean().item() == pytest.approx(DIGITS.mean[0], abs=5e-5)
    assert pixels.std().item() == pytest.approx(DIGITS.std[0], abs=5e-5)
