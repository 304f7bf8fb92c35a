from typing import Any

import pytest
import torch

from bench.data.batches.augment import augment
from bench.data.batches.plan import Preparation, augmentation_stream, batch_count, epoch_order
from bench.data.sets.tasks import Task
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
    found, found_labels = prepare(images, labels, ())
    # (0 - 0.2) / 0.1, (0.2 - 0.5) / 0.2, (1 - 0.7) / 0.4
    torch.testing.assert_close(found[1, :, 3, 2], torch.tensor([-2.0, -1.5, 0.75]))
    assert found.shape == (2, 3, 6, 5)
    assert torch.equal(found_labels, labels)
    assert images.max() == 255


def test_preparation_refuses_unknown_augmentations_at_once(colours: Task) -> None:
    with pytest.raises(UserError, match="unknown augmentation 'turn'"):
        Preparation.of(colours, ["turn"], torch.device("cpu"))


@pytest.mark.gpu
def test_gpu_gets_the_same_batch(colours: Task) -> None:
    images = torch.randint(0, 256, (9, *colours.shape), dtype=torch.uint8)
    batches = []
    for device in ("cpu", "cuda"):
        prepare = Preparation.of(colours, ["crop", "flip"], torch.device(device))
        plan = next(prepare.plans(9, batch_size=9, seed=0, epoch=0, shuffle=False))
        batches.append(prepare(images, torch.zeros(9, dtype=torch.int64), plan.numbers)[0])
    torch.testing.assert_close(batches[1].cpu(), batches[0], rtol=1e-6, atol=1e-6)


def test_plans_draw_from_one_stream_that_runs_on(colours: Task) -> None:
    images = torch.randint(0, 256, (9, *colours.shape), dtype=torch.uint8)
    prepare = Preparation.of(colours, ["crop", "flip", "cutout"], torch.device("cpu"))
    stream = augmentation_stream(seed=5, epoch=2)
    order = epoch_order(9, seed=5, epoch=2, shuffle=True)
    plans = list(prepare.plans(9, batch_size=4, seed=5, epoch=2, shuffle=True))
    assert [len(plan) for plan in plans] == [4, 4, 1]
    for plan, positions in zip(plans, order.split(4), strict=True):
        assert torch.equal(plan.positions, positions)
        stored = images[positions]
        found, _ = prepare(stored, torch.zeros(len(plan), dtype=torch.int64), plan.numbers)
        expected = augment(stored, ["crop", "flip", "cutout"], stream)
        assert torch.equal(found, (expected.float() - prepare.mean) / prepare.std)


@pytest.mark.parametrize(
    ("device", "batch_size", "together"),
    # An image has 90 bytes.
    [("cpu", 4, 16), ("cpu", 4000, 11), ("cpu", 40000, 1), ("cpu", 400_000, 1), ("meta", 4, 1)],
)
def test_small_batches_are_planned_together_on_a_cpu(
    colours: Task, device: str, batch_size: int, together: int
) -> None:
    prepare = Preparation.of(colours, ["crop", "flip"], torch.device(device))
    assert prepare.together(batch_size) == together


def test_joined_plans_hold_what_plans_hold(colours: Task) -> None:
    prepare = Preparation.of(colours, ["resized-crop", "flip"], torch.device("cpu"))
    settings: Any = {"batch_size": 2, "seed": 5, "epoch": 2, "shuffle": True}
    plans = list(prepare.plans(37, **settings))
    joined = list(prepare.plans_together(37, **settings))
    assert [len(plan) for plan in joined] == [32, 5]
    for of_all, of_joined in (
        ([plan.positions for plan in plans], [plan.positions for plan in joined]),
        ([plan.frames for plan in plans], [plan.frames for plan in joined]),
        ([plan.numbers[0] for plan in plans], [plan.numbers[0] for plan in joined]),
    ):
        assert torch.equal(torch.cat(of_all), torch.cat(of_joined))


def test_alternating_flip_turns_every_image_in_every_second_epoch(colours: Task) -> None:
    prepare = Preparation.of(colours, ["crop", "alternating-flip"], torch.device("cpu"))

    def turned(epoch: int, seed: int = 5) -> torch.Tensor:
        plans = list(prepare.plans(200, batch_size=64, seed=seed, epoch=epoch, shuffle=True))
        positions = torch.cat([plan.positions for plan in plans])
        return torch.cat([plan.numbers[1] for plan in plans])[positions.argsort(), 0]

    first = turned(0)
    assert 70 < first.sum() < 130
    assert torch.equal(turned(1), 1 - first)
    assert torch.equal(turned(2), first)
    assert not torch.equal(turned(0, seed=6), first)


def test_resolutions_hold_from_their_epoch_on(colours: Task) -> None:
    prepare = Preparation.of(colours, [], torch.device("cpu"), resolutions=[(2, 8), (4, 12)])
    sides = [next(prepare.plans(3, batch_size=2, seed=0, epoch=epoch, shuffle=True)).side for epoch in range(5)]
    assert sides == [(6, 5), (8, 8), (8, 8), (12, 12), (12, 12)]


def test_random_boxes_come_first(colours: Task) -> None:
    with pytest.raises(UserError, match="'resized-crop' must come first"):
        Preparation.of(colours, ["flip", "resized-crop"], torch.device("cpu"))
