import importlib.util
import math

import pytest
import torch
from torchvision.transforms.v2 import functional

from bench.data.batches import colour
from bench.data.batches.augment import AUGMENTATIONS, augment

SHAPE = torch.Size((24, 3, 9, 7))
GREY_SHAPE = torch.Size((24, 1, 9, 7))


def pictures(shape=SHAPE, seed=0):
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    images[0] = 0
    images[1] = 255
    images[2] = images[2, :1].expand(images[2].shape)  # without colour
    images[3, :, :2] = torch.tensor([255, 0, 0][: shape[1]], dtype=torch.uint8).view(-1, 1, 1)
    return images


def torchvisions(image, numbers):
    x = image.float() / 255
    operations = (
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
        functional.adjust_hue,
    )
    for which in numbers[4:].long().tolist():
        x = operations[which](x, float(numbers[which]))
    return 255 * x


@pytest.mark.parametrize("shape", [SHAPE, GREY_SHAPE])
@pytest.mark.parametrize("seed", range(5))
def test_jitter_equals_torchvisions_operations(shape, seed):
    images = pictures(shape, seed)
    numbers = colour.draw_jitter(shape, torch.Generator().manual_seed(seed))
    out = colour.jitter(images, numbers)
    assert out.dtype == torch.uint8
    assert out.is_contiguous()
    expected = torch.stack([torchvisions(*pair) for pair in zip(images, numbers, strict=True)])
    assert float((out - expected).abs().max()) <= 0.5 + 1e-2


def test_greyscale_equals_torchvisions():
    images = pictures()
    numbers = colour.draw_grey(SHAPE, torch.Generator().manual_seed(0))
    out = colour.greyscale(images, numbers)
    assert out.is_contiguous()
    chosen = numbers[:, 0] < 0.2
    assert 0 < int(chosen.sum()) < 24
    assert torch.equal(out[~chosen], images[~chosen])
    expected = 255 * functional.rgb_to_grayscale(images[chosen].float() / 255, num_output_channels=3)
    assert float((out[chosen] - expected).abs().max()) <= 0.5 + 1e-2


@pytest.mark.parametrize("name", ["colour-jitter", "greyscale"])
@pytest.mark.parametrize("shape", [SHAPE, GREY_SHAPE, torch.Size((3, 3, 60, 50))])
def test_a_single_image_gets_the_same_pixels_to_the_bit(name, shape):
    images = pictures(torch.Size((max(4, shape[0]), *shape[1:])))
    numbers = AUGMENTATIONS[name].draw(images.shape, torch.Generator().manual_seed(1))
    one_by_one = torch.stack([AUGMENTATIONS[name].single(*pair) for pair in zip(images, numbers, strict=True)])
    assert torch.equal(AUGMENTATIONS[name].batch(images, numbers), one_by_one)


@pytest.mark.parametrize("shape", [SHAPE, GREY_SHAPE])
@pytest.mark.parametrize("seed", range(3))
def test_without_a_decision_on_the_cpu_the_pixels_are_the_same_to_the_bit(shape, seed):
    images, stream = pictures(shape, seed), torch.Generator().manual_seed(seed)
    numbers = colour.draw_jitter(shape, stream)
    factors, order = numbers[:, :4], numbers[:, 4:].long()
    assert torch.equal(
        colour.jitter_by_choice(images, factors, order), colour.jitter_by_operations(images, factors, order)
    )
    if shape[1] > 1:
        drawn = colour.draw_grey(shape, stream)
        assert torch.equal(colour.greyscale_by_choice(images, drawn[:, 0] < 0.2), colour.greyscale(images, drawn))


def test_draws_have_torchvisions_distributions():
    numbers = colour.draw_jitter(torch.Size((20_000, 3, 1, 1)), torch.Generator().manual_seed(0))
    for column, (low, high) in enumerate([(0.6, 1.4)] * 3 + [(-0.1, 0.1)]):
        values = numbers[:, column]
        assert low <= float(values.min()) < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < float(values.max()) <= high
        assert float(values.mean()) == pytest.approx((low + high) / 2, abs=0.01 * (high - low))
    orders, counts = numbers[:, 4:].unique(dim=0, return_counts=True)
    assert len(orders) == math.factorial(4)
    assert float(counts.min()) > 20_000 / 24 * 0.85
    grey = colour.draw_grey(torch.Size((20_000, 3, 1, 1)), torch.Generator().manual_seed(0))
    assert float((grey < 0.2).float().mean()) == pytest.approx(0.2, abs=0.01)


def test_images_are_not_changed_in_place():
    images = pictures()
    kept = images.clone()
    augment(images, ["colour-jitter", "greyscale"], torch.Generator().manual_seed(2))
    assert torch.equal(images, kept)


@pytest.mark.skipif(colour._compiled() is None, reason="needs numba, which comes with FFCV")
@pytest.mark.parametrize("shape", [(240, 3, 32, 32), (24, 3, 9, 7)])
def test_the_compiled_jitter_equals_the_operations_to_the_bit(shape):
    for seed in range(4):
        images = pictures(torch.Size(shape), seed)
        numbers = colour.draw_jitter(images.shape, torch.Generator().manual_seed(seed))
        expected = colour.jitter_by_operations(images, numbers[:, :4], numbers[:, 4:].long())
        assert torch.equal(colour.jitter(images, numbers), expected)


def test_without_numba_the_operations_serve(monkeypatch):
    monkeypatch.setattr(colour, "_compiled", lambda: None)
    images = pictures()
    numbers = colour.draw_jitter(images.shape, torch.Generator().manual_seed(0))
    expected = colour.jitter_by_operations(images, numbers[:, :4], numbers[:, 4:].long())
    assert torch.equal(colour.jitter(images, numbers), expected)


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="needs numba, which comes with FFCV")
def test_where_numba_can_keep_no_code_the_operations_serve(monkeypatch):
    def no_folder(name):
        raise RuntimeError(f"cannot cache {name}: no locator available")

    monkeypatch.setattr(colour.importlib, "import_module", no_folder)
    assert colour._compiled.__wrapped__() is None
