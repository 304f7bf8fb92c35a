import numpy as np
import pytest
import torch
from image_boxes import scalar_box
from torchvision.transforms.v2 import functional

from bench.data.batches import framing
from bench.data.batches.framing import Framing


@pytest.mark.parametrize("size", [(64, 64), (375, 500), (500, 20), (20, 500), (1, 1), (7, 5)])
def test_random_boxes_are_those_of_plain_arithmetic(size: tuple[int, int]) -> None:
    numbers = framing.draw((200,), torch.Generator().manual_seed(1)).numpy()
    found = framing.random_boxes(numbers, np.tile(np.array([size]), (200, 1)))
    assert found.tolist() == [list(scalar_box(row, *size)) for row in numbers.tolist()]


def test_random_boxes_have_the_areas_and_ratios_that_are_promised() -> None:
    numbers = framing.draw((5000,), torch.Generator().manual_seed(0)).numpy()
    top, left, height, width = framing.random_boxes(numbers, np.full((5000, 2), 1000)).T
    assert top.min() >= 0
    assert left.min() >= 0
    assert (top + height).max() <= 1000
    assert (left + width).max() <= 1000
    shares, ratios = height * width / 1e6, width / height
    assert 0.079 < shares.min() < 0.09
    assert 0.96 < shares.max() <= 1
    assert 0.74 < ratios.min() < 0.76
    assert 1.32 < ratios.max() < 1.34


@pytest.mark.parametrize(
    ("size", "share", "box"),
    [
        ((64, 64), 1.0, [0, 0, 64, 64]),
        ((256, 256), 224 / 256, [16, 16, 224, 224]),
        ((375, 500), 224 / 256, [23, 86, 328, 328]),  # 375 * 0.875 = 328.1
        ((500, 375), 1.0, [62, 0, 375, 375]),
    ],
)
def test_central_boxes(size: tuple[int, int], share: float, box: list[int]) -> None:
    assert framing.central_boxes(np.array([size]), share).tolist() == [box]


@pytest.mark.parametrize(
    ("box", "side", "by"),
    [
        ((0, 0, 448, 448), (224, 224), 2),
        ((0, 0, 447, 900), (224, 224), 1),
        ((5, 5, 900, 1000), (224, 224), 4),
        ((0, 0, 4000, 3000), (64, 64), 8),
        ((0, 0, 30, 30), (64, 64), 1),
    ],
)
def test_a_reduced_image_still_has_the_pixels_that_are_asked_for(
    box: framing.Box, side: tuple[int, int], by: int
) -> None:
    assert framing.reduction(box, side) == by
    _, _, height, width = framing.reduced(box, by, (5000, 5000))
    assert (height, width) == (box[2] // by, box[3] // by)
    assert by == 1 or (height >= side[0] and width >= side[1])


def test_a_reduced_box_stays_within_the_image() -> None:
    # 101 pixels at a half are 51; the box of rows 1 to 101 begins at row 0 and may have 50.
    assert framing.reduced((1, 3, 100, 96), 2, (51, 50)) == (0, 1, 50, 48)
    assert framing.reduced((3, 0, 98, 100), 2, (49, 50)) == (1, 0, 48, 50)


def test_resampling_is_torchvisions() -> None:
    image = torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for box in ((0, 0, 40, 50), (3, 7, 10, 11), (5, 5, 20, 30)):
        expected = functional.resized_crop(image, *box, [16, 16], antialias=True)
        assert torch.equal(framing.resample(image, box, (16, 16)), expected)
    assert torch.equal(framing.resample(image, (2, 3, 16, 16), (16, 16)), image[:, 2:18, 3:19])


def test_an_image_of_one_colour_stays_one() -> None:
    image = torch.full((3, 31, 17), 77, dtype=torch.uint8)
    assert (framing.resample(image, (4, 2, 20, 15), (9, 12)) == 77).all()


def test_sides_of_a_framing() -> None:
    framed = Framing(random=False, share=None, shape=(3, 32, 48))
    assert framed.side(7) == (32, 48)
    assert framed.keeps(7)
    shrunk = Framing(random=False, share=None, shape=(3, 32, 32), resolutions=((1, 24), (3, 32)))
    assert [shrunk.side(epoch)[0] for epoch in range(4)] == [24, 24, 32, 32]
    assert [shrunk.keeps(epoch) for epoch in range(4)] == [False, False, True, True]
    assert not Framing(random=True, share=None, shape=(3, 32, 32)).keeps(0)
