import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from asge import ASGELearner, ASGESettings
from asge.whitening import SCALE, whiten
from baselines.backprop import BackpropLearner, BackpropSettings

TASK = SimpleNamespace(shape=(3, 8, 8), classes=4)
BUDGET = SimpleNamespace(epochs=2, steps_per_epoch=2)


def pictures(channels=3, count=200):
    """Correlated images: a few random directions make all of them."""
    generator = torch.Generator().manual_seed(0)
    smooth = torch.randn(count, channels, 4, 4, generator=generator)
    images = nn.functional.interpolate(smooth, size=(8, 8), mode="bilinear")
    return images + 0.1 * torch.randn(images.shape, generator=generator)


def convolution(channels, out, seed=0):
    conv = nn.Conv2d(channels, out, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, generator=torch.Generator().manual_seed(seed))
    return conv


@pytest.mark.parametrize("channels", [1, 3])
def test_outputs_within_the_image_are_uncorrelated_and_of_one_size(channels):
    directions = channels * 9
    conv, images = convolution(channels, 2 * directions), pictures(channels)
    whiten(conv, images)
    # of the patches that were looked at, without padding
    patches = nn.functional.unfold(images[:32], 3).transpose(1, 2).flatten(0, 1)
    outputs = patches @ conv.weight.detach().flatten(1).T
    first = outputs[:, ::2]
    assert torch.equal(outputs[:, 1::2], -first)
    covariance = (first.T @ first / len(first)) / SCALE**2
    off_diagonal = covariance - covariance.diag().diag()
    assert float(off_diagonal.abs().max()) < 1e-3
    assert float(covariance.diag().max()) <= 1
    assert float(covariance.diag()[0]) > 0.99  # the largest; small ones are held down
    assert bool((covariance.diag().diff() < 1e-4).all())


def test_kernels_beyond_both_signs_of_all_directions_stay():
    conv, few = convolution(1, 20), convolution(1, 5)
    before = conv.weight.detach().clone()
    whiten(conv, pictures(1))
    whiten(few, pictures(1))
    assert torch.equal(conv.weight[18:], before[18:])
    assert not torch.equal(conv.weight[:18], before[:18])
    assert torch.equal(few.weight, conv.weight[:5])


def test_black_images_give_finite_kernels():
    conv = convolution(1, 20)
    whiten(conv, torch.zeros(2, 1, 8, 8))
    assert bool(conv.weight.isfinite().all())


def learner(method, first_layer):
    generator = torch.Generator().manual_seed(0)
    if method == "asge":
        settings = ASGESettings(plan="20,M,8", first_layer=first_layer, learning_rate=1e-6)
        return ASGELearner(TASK, settings, BUDGET, torch.device("cpu"), generator)
    settings = BackpropSettings(plan="20,M,8", first_layer=first_layer, learning_rate=1e-6)
    return BackpropLearner(TASK, settings, BUDGET, torch.device("cpu"), generator)


@pytest.mark.parametrize("method", ["asge", "backprop"])
def test_the_first_step_whitens_and_a_resumed_run_does_not_again(method):
    images, labels = pictures(), torch.arange(200) % 4
    conv = convolution(3, 20)
    whiten(conv, images)
    whitened, plain = learner(method, "whitened"), learner(method, "random")
    for each in (whitened, plain):
        each.train_step(images, labels)
    kernels = [each.network.blocks[0] for each in (whitened, plain)]
    kernels = [getattr(each, "unit", each).conv.weight.detach() for each in kernels]
    torch.testing.assert_close(kernels[0], conv.weight.detach(), atol=1e-4, rtol=0)
    assert not torch.allclose(kernels[0], kernels[1], atol=1e-2)
    again = learner(method, "whitened")
    again.load_state_dict(copy.deepcopy(whitened.state_dict()))
    for each in (again, whitened):
        each.train_step(images.flip(3).roll(2, 2), labels)
    for one, other in zip(again.network.parameters(), whitened.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_networks_of_other_topologies_are_refused():
    settings = BackpropSettings(topology="vgg", first_layer="whitened")
    with pytest.raises(ValueError, match="first_layer has no effect with topology 'vgg'"):
        BackpropLearner(TASK, settings, BUDGET, torch.device("cpu"), torch.Generator())
