from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from image_boxes import scalar_box
from torch import Tensor
from torchvision.transforms.v2 import functional

from bench.data.batches import augment as augment_module
from bench.data.batches.augment import AUGMENTATIONS, augment
from bench.errors import UserError


def _images(batch: int = 7, channels: int = 3, height: int = 6, width: int = 5) -> Tensor:
    count = batch * channels * height * width
    return (torch.arange(count) % 255 + 1).to(torch.uint8).view(batch, channels, height, width)


def _window_by_loops(images: Tensor, generator: torch.Generator, padding: int) -> Tensor:
    offsets = torch.randint(0, 2 * padding + 1, (len(images), 2), generator=generator)
    result = torch.zeros_like(images)
    _, channels, height, width = images.shape
    for sample, (down, right) in enumerate((offsets - padding).tolist()):
        for channel in range(channels):
            for row in range(height):
                for column in range(width):
                    if 0 <= row + down < height and 0 <= column + right < width:
                        result[sample, channel, row, column] = images[sample, channel, row + down, column + right]
    return result


def _shift_by_loops(images: Tensor, generator: torch.Generator) -> Tensor:
    return _window_by_loops(images, generator, 2)


def _crop_by_loops(images: Tensor, generator: torch.Generator) -> Tensor:
    return _window_by_loops(images, generator, 4)


def _flip_by_loops(images: Tensor, generator: torch.Generator) -> Tensor:
    chosen = torch.randint(0, 2, (len(images),), generator=generator).tolist()
    result = images.clone()
    for sample in range(len(images)):
        if chosen[sample]:
            for column in range(images.shape[3]):
                result[sample, :, :, column] = images[sample, :, :, images.shape[3] - 1 - column]
    return result


def _cutout_by_loops(images: Tensor, generator: torch.Generator) -> Tensor:
    batch, channels, height, width = images.shape
    side = min(height, width) // 2
    rows, columns = (torch.randint(0, length, (batch, 1), generator=generator).tolist() for length in (height, width))
    result = images.clone()
    for sample in range(batch):
        for row in range(rows[sample][0] - side // 2, rows[sample][0] - side // 2 + side):
            for column in range(columns[sample][0] - side // 2, columns[sample][0] - side // 2 + side):
                if 0 <= row < height and 0 <= column < width:
                    for channel in range(channels):
                        result[sample, channel, row, column] = 0
    return result


def _resized_crop_by_loops(images: Tensor, generator: torch.Generator) -> Tensor:
    numbers = torch.rand(len(images), 22, dtype=torch.float64, generator=generator).tolist()
    height, width = images.shape[2:]
    cut = []
    for image, row in zip(images, numbers, strict=True):
        box = scalar_box(row, height, width)
        cut.append(functional.resized_crop(image, *box, [height, width], antialias=True))
    return torch.stack(cut)


ORACLES: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "shift": _shift_by_loops,
    "crop": _crop_by_loops,
    "flip": _flip_by_loops,
    "alternating-flip": _flip_by_loops,  # by itself; for what alternates, see test_plan.py
    "cutout": _cutout_by_loops,
    "resized-crop": _resized_crop_by_loops,
}


def test_every_augmentation_has_an_oracle() -> None:
    of_colour = {"colour-jitter", "greyscale"}  # see test_colour.py
    assert set(AUGMENTATIONS) == {*ORACLES, "none"} | of_colour


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (7, 3, 6, 5), (4, 1, 3, 9)])
def test_against_loops(name: str, shape: tuple[int, int, int, int]) -> None:
    images = _images(*shape)
    before = images.clone()
    found = augment(images, [name], torch.Generator().manual_seed(3))
    assert torch.equal(found, ORACLES[name](images, torch.Generator().manual_seed(3)))
    assert found.is_contiguous()
    assert found.dtype == torch.uint8
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("shape", [(9, 1, 8, 8), (9, 3, 6, 5)])
def test_single_images_become_what_they_become_in_a_batch(name: str, shape: tuple[int, int, int, int]) -> None:
    images, augmentation = _images(*shape), AUGMENTATIONS[name]
    numbers = augmentation.draw(images.shape, torch.Generator().manual_seed(5))
    one_by_one = [augmentation.single(image, row) for image, row in zip(images, numbers, strict=True)]
    assert torch.equal(torch.stack(one_by_one), augmentation.batch(images, numbers))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_memory_format_changes_no_pixel(name: str) -> None:
    images = _images()
    other = images.contiguous(memory_format=torch.channels_last)
    found, expected = (augment(x, [name], torch.Generator().manual_seed(1)) for x in (other, images))
    assert torch.equal(found, expected)


def test_names_apply_in_order_from_one_stream() -> None:
    images = _images()
    generator = torch.Generator().manual_seed(9)
    expected = _flip_by_loops(_crop_by_loops(images, generator), generator)
    assert torch.equal(augment(images, ["crop", "flip"], torch.Generator().manual_seed(9)), expected)


@pytest.mark.parametrize("names", [[], ["none"]])
def test_none_leaves_images_and_generator(names: list[str]) -> None:
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    images = _images()
    assert torch.equal(augment(images, names, generator), images)
    assert torch.equal(generator.get_state(), state)


def test_all_shifts_occur_equally_often() -> None:
    images = torch.zeros(5000, 1, 5, 5, dtype=torch.uint8)
    images[:, :, 2, 2] = 1
    shifted = augment(images, ["shift"], torch.Generator().manual_seed(0))
    # A shift by up to 2 keeps the dot within the 5x5 image, so that where it lands shows the shift.
    landed = shifted.float().mean(dim=(0, 1))
    assert shifted.sum() == 5000
    # 25 places at 4 % each; 0.014 is five standard deviations.
    assert (landed - 1 / 25).abs().max() < 0.014


@given(st.integers(0, 2**32))
def test_flipping_keeps_every_row_as_a_set(seed: int) -> None:
    images = _images(batch=3)
    flipped = augment(images, ["flip"], torch.Generator().manual_seed(seed))
    assert torch.equal(flipped.sort(dim=3).values, images.sort(dim=3).values)


def test_both_ways_to_flip_give_the_same_images() -> None:
    images, turned = _images(9), torch.randint(0, 2, (9,), generator=torch.Generator().manual_seed(2))
    assert 0 < int(turned.sum()) < 9
    assert torch.equal(augment_module._flip_by_choice(images, turned), augment_module._flip_by_order(images, turned))


def test_unknown_name() -> None:
    with pytest.raises(UserError, match="unknown augmentation 'flp': did you mean 'flip'"):
        augment(_images(), ["crop", "flp"], torch.Generator())


@pytest.mark.gpu
def test_gpu_sees_the_same_images() -> None:
    images = _images()
    on_gpu = augment(images.cuda(), ["crop", "flip", "shift"], torch.Generator().manual_seed(4))
    assert on_gpu.is_cuda
    assert torch.equal(on_gpu.cpu(), augment(images, ["crop", "flip", "shift"], torch.Generator().manual_seed(4)))
