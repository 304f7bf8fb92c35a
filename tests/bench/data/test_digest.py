import dataclasses

import torch

from bench.data import digest


class Loader:
    def __init__(self, images, labels):
        self._batch = images, labels

    def epoch(self, epoch):
        yield self._batch


def test_any_change_of_what_a_learner_is_given_changes_the_digest(colour_split):
    images = torch.linspace(-1, 1, 4 * 9).view(4, 1, 3, 3)
    labels = torch.arange(4)
    base = digest.inputs(colour_split, Loader(images, labels))
    assert digest.inputs(colour_split, Loader(images + 1e-7, labels)) == base  # another processor's last bit
    assert digest.inputs(colour_split, Loader(images.flip(3), labels)) != base
    assert digest.inputs(colour_split, Loader(images, labels.flip(0))) != base
    assert (
        digest.inputs(dataclasses.replace(colour_split, labels=colour_split.labels + 1), Loader(images, labels)) != base
    )
    assert (
        digest.inputs(dataclasses.replace(colour_split, indices=colour_split.indices + 1), Loader(images, labels))
        != base
    )
