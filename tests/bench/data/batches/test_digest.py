import dataclasses

import torch

from bench.data.batches import digest


def batches(images, labels):
    yield images, labels


def test_any_change_of_what_a_learner_is_given_changes_the_digest(colour_split):
    images = torch.linspace(-1, 1, 4 * 9).view(4, 1, 3, 3)
    labels = torch.arange(4)
    base = digest.of_batches(colour_split, batches(images, labels))
    assert digest.of_batches(colour_split, batches(images + 1e-7, labels)) == base  # another processor's last bit
    assert digest.of_batches(colour_split, batches(images.flip(3), labels)) != base
    assert digest.of_batches(colour_split, batches(images, labels.flip(0))) != base
    assert (
        digest.of_batches(dataclasses.replace(colour_split, labels=colour_split.labels + 1), batches(images, labels))
        != base
    )
    assert (
        digest.of_batches(dataclasses.replace(colour_split, indices=colour_split.indices + 1), batches(images, labels))
        != base
    )
