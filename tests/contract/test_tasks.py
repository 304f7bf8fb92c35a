"""Checks that every registered task must pass, also those of other packages."""

import pytest
import torch

from bench.data import loaders
from bench.data.sets import encoded, sources, splits, tasks


@pytest.fixture(scope="module", params=tasks.task_names())
def task(request):
    return tasks.get_task(request.param)


@pytest.fixture(scope="module")
def arrays(task):
    if sources.find(task) is None:
        pytest.skip(f"the files of {task.name} are not here")
    return task.read(None)


def test_it_is_known_by_its_own_name_and_says_what_it_is(task):
    assert tasks.get_task(task.name) is task
    assert task.title
    assert len(task.shape) == 3
    assert len(task.mean) == len(task.std) == task.shape[0]
    assert min(task.shape) > 0
    assert task.classes > 1
    superclasses = getattr(task, "superclasses", None)
    if superclasses is not None:
        assert len(superclasses) == task.classes
        assert set(superclasses) == set(range(max(superclasses) + 1))


def test_its_data_are_as_it_says(task, arrays):
    for images, labels in ((arrays.train_images, arrays.train_labels), (arrays.test_images, arrays.test_labels)):
        assert len(images) == len(labels)
        if isinstance(images, torch.Tensor):
            assert images.dtype == torch.uint8
            assert images.shape == (len(labels), *task.shape)
            assert images.is_contiguous()
        assert labels.dtype == torch.int64
        assert set(labels.unique().tolist()) == set(range(task.classes))
    assert len(arrays.test_labels) == task.test_size
    assert 0 < task.validation_size < len(arrays.train_labels)


def test_its_mean_and_deviation_are_those_of_its_training_pixels(task, arrays):
    images, exact = arrays.train_images, 0.01
    if not isinstance(images, torch.Tensor):
        # Files: the usual figures, of a sample.
        images, exact = _some_pixels(images), 0.05
    for channel, (mean, deviation) in enumerate(zip(task.mean, task.std, strict=True)):
        counts = images[:, channel].flatten().bincount(minlength=256).double()
        levels = torch.arange(256, dtype=torch.float64) / 255
        found = (counts * levels).sum() / counts.sum()
        assert found.item() == pytest.approx(mean, abs=exact)
        spread = ((counts * (levels - found) ** 2).sum() / counts.sum()).sqrt()
        assert spread.item() == pytest.approx(deviation, abs=exact)


def _some_pixels(images):
    """Pixels of 500 files spread over all, (1, 3, 1, N)."""
    pixels = []
    for position in range(0, len(images), max(1, len(images) // 500)):
        with encoded.opened(images.path(position)) as image:
            pixels.append(encoded.decoded(image, images.path(position)).flatten(1))
    return torch.cat(pixels, dim=1)[None, :, None]


def test_its_splits_share_no_sample_and_are_the_same_each_time(task, arrays):
    one, other = splits.split(task, arrays), splits.split(task, arrays)
    assert len(one.validation.labels) == task.validation_size
    assert len(one.train.labels) + len(one.validation.labels) == len(arrays.train_labels)
    assert torch.equal(one.train.labels, other.train.labels)
    assert torch.equal(one.validation.indices, other.validation.indices)
    if isinstance(one.validation.images, torch.Tensor):
        assert torch.equal(one.validation.images, other.validation.images)


def test_a_loader_gives_the_same_batches_for_the_same_seed_and_epoch(task, arrays):
    part = splits.split(task, arrays, train_limit=100).train

    def epoch(number):
        kind = "memory" if isinstance(part.images, torch.Tensor) else "torch"
        loader = loaders.make_loader(
            kind, task, part, batch_size=32, seed=0, shuffle=True, augmentation=(), device=torch.device("cpu")
        )
        return [(images.clone(), labels.clone()) for images, labels in loader.epoch(number)]

    first, again, later = epoch(0), epoch(0), epoch(1)
    assert sum(len(labels) for _, labels in first) == 100
    assert all(images.shape[1:] == task.shape and images.dtype == torch.float32 for images, _ in first)
    for (images, labels), (images_again, labels_again) in zip(first, again, strict=True):
        assert torch.equal(images, images_again)
        assert torch.equal(labels, labels_again)
    assert not torch.equal(torch.cat([labels for _, labels in first]), torch.cat([labels for _, labels in later]))
