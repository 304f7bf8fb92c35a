import pytest
import torch
import torch.nn.functional as F

from baselines.conditional.segmentation import IGNORE, Confusion, PSPNet, segmentation_loss
from bench.measure import flops


def make(gating="none", **options):
    generator = torch.Generator().manual_seed(0)
    return PSPNet("imagenet-18", 3, gating=gating, width=0.25, head=16, generator=generator, **options)


def images(batch=2, side=64):
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("gating", ["none", "channels", "blocks"])
def test_logits_have_the_images_size_and_skipping_changes_nothing(gating):
    network = make(gating).double().eval()
    with torch.no_grad():
        skipped, masked = (network(images().double(), skip=skip) for skip in (True, False))
    assert skipped.logits.shape == (2, 3, 64, 64)
    torch.testing.assert_close(skipped.logits, masked.logits, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("gating", ["none", "channels"])
def test_counted_work_is_what_an_image_costs(gating):
    network = make(gating).eval()
    with torch.no_grad():
        macs = network(images(1)).macs.item()
        assert flops.count(lambda: network(images(1))) == pytest.approx(2 * macs, rel=1e-6)


def test_a_training_step_reaches_every_parameter_that_is_used():
    network = make("channels").train()
    outcome = network(images())
    masks = torch.randint(3, (2, 64, 64))
    (segmentation_loss(outcome.logits, masks) + sum(soft.mean() for soft in outcome.soft_gates)).backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert without == ["backbone.classifier.weight", "backbone.classifier.bias"]


def test_ignored_pixels_do_not_count_in_the_loss():
    logits = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    masks = torch.tensor([[[0, IGNORE], [2, IGNORE]]])
    expected = F.cross_entropy(logits[:, :, :, 0].flatten(2), masks[:, :, 0])
    torch.testing.assert_close(segmentation_loss(logits, masks), expected)
    assert segmentation_loss(logits, torch.full((1, 2, 2), IGNORE)) == 0


def test_scores_by_hand():
    found = Confusion.empty(4)
    masks = torch.tensor([[[0, 0, 1, 1], [1, 2, IGNORE, IGNORE]]])
    predicted = torch.tensor([[[0, 1, 1, 1], [0, 2, 3, 0]]])
    found.add(predicted, masks)
    # right: 1 of class 0, 2 of class 1, 1 of class 2; class 3 is only predicted where nothing counts
    assert found.pixel_accuracy == pytest.approx(100 * 4 / 6)
    assert found.mean_iou == pytest.approx(100 * (1 / 3 + 2 / 4 + 1 / 1) / 3)
    found.add(predicted, masks)
    assert found.pixel_accuracy == pytest.approx(100 * 4 / 6)


def test_nothing_seen_is_no_division_by_zero():
    found = Confusion.empty(2)
    found.add(torch.zeros(1, 2, 2, dtype=torch.int64), torch.full((1, 2, 2), IGNORE))
    assert (found.pixel_accuracy, found.mean_iou) == (0.0, 0.0)


def test_a_network_for_small_images_is_refused():
    with pytest.raises(ValueError, match="needs a ResNet for large images, such as imagenet-18, got 'cifar-20'"):
        PSPNet("cifar-20", 3, generator=torch.Generator())
