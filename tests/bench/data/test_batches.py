import pytest
import torch

from bench.data.batches import Preparation, augmentation_stream, batch_count, epoch_order
from bench.data.tasks import Task
from bench.errors import UserError


@pytest.mark.parametrize(("samples", "batch_size", "expected"), [(10, 5, 2), (11, 5, 3), (3, 5, 1), (0, 5, 0)])
def test_batch_count(samples: int, batch_size: int, expected: int) -> None:
    assert batch_count(samples, batch_size) == expected


def test_epoch_order() -> None:
    orders = [epoch_order(50, seed=s, epoch=e, shuffle=True) for s, e in ((0, 0), (0, 0), (0, 1), (1, 0))]
    assert torch.equal(orders[0], orders[1])
    assert len({tuple(order.tolist()) for order in orders}) == 3
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(50))
    assert torch.equal(epoch_order(50, seed=0, epoch=0, shuffle=False), torch.arange(50))


def test_preparation_normalises_each_channel(colours: Task) -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1).repeat(2, 1, 6, 5)
    labels = torch.tensor([1, 2])
    prepare = Preparation.of(colours, [], torch.device("cpu"))
    found, found_labels = prepare(images, labels, augmentation_stream(seed=0, epoch=0))
    # (0 - 0.2) / 0.1, (0.2 - 0.5) / 0.2, (1 - 0.7) / 0.4
    torch.testing.assert_close(found[1, :, 3, 2], torch.tensor([-2.0, -1.5, 0.75]))
    assert found.shape == (2, 3, 6, 5)
    assert torch.equal(found_labels, labels)
    assert images.max() == 255


def test_preparation_refuses_unknown_augmentations_at_once(colours: Task) -> None:
    with pytest.raises(UserError, match="unknown augmentation 'turn'"):
        Preparation.of(colours, ["turn"], torch.device("cpu"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_gets_the_same_batch(colours: Task) -> None:
    images = torch.randint(0, 256, (9, *colours.shape), dtype=torch.uint8)
    batches = []
    for device in ("cpu", "cuda"):
        prepare = Preparation.of(colours, ["crop", "flip"], torch.device(device))
        batches.append(prepare(images, torch.zeros(9, dtype=torch.int64), augmentation_stream(seed=0, epoch=0))[0])
    torch.testing.assert_close(batches[1].cpu(), batches[0], rtol=1e-6, atol=1e-6)
