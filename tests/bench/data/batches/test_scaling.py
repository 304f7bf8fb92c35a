import pytest
import torch

from bench.data.batches.scaling import scaled

MEAN, STD = (torch.tensor(values).view(1, 3, 1, 1) for values in ([100.0, 120.0, 90.0], [50.0, 60.0, 70.0]))


def images(count=6):
    made = torch.randint(0, 256, (count, 3, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    made[0] = 0
    return made


def test_each_kind_by_its_formula():
    x = images().double()
    torch.testing.assert_close(scaled(images(), "standard", MEAN, STD), ((x - MEAN) / STD).float())
    torch.testing.assert_close(scaled(images(), "unit", MEAN, STD), (x / 255).float())
    by_rms = scaled(images(), "rms", MEAN, STD)
    torch.testing.assert_close(by_rms[1:], (x / x.square().mean((1, 2, 3), keepdim=True).sqrt())[1:].float())
    assert not by_rms[0].any()


@pytest.mark.parametrize("kind", ["standard", "unit", "rms"])
def test_an_image_is_scaled_alike_in_every_batch(kind):
    whole = scaled(images(), kind, MEAN, STD)
    assert whole.dtype == torch.float32
    alone = torch.cat([scaled(image[None], kind, MEAN, STD) for image in images()])
    assert torch.equal(whole, alone)
