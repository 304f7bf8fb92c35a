from collections.abc import Iterator

import pytest
import torch

from bench.data import loaders
from bench.data.batches import transfer
from bench.data.batches.plan import Plan, Preparation
from bench.data.loaders import make_loader
from bench.data.sets.splits import Split
from bench.data.sets.tasks import Task

needs_ffcv = pytest.mark.skipif(not loaders._ffcv_works(), reason="needs FFCV, which is not installed")
needs_gpu = pytest.mark.gpu


def _stored(prepare: Preparation, part: Split, log: list[str]) -> Iterator[transfer.Stored]:
    assert isinstance(part.images, torch.Tensor)
    try:
        for plan in prepare.plans(len(part), batch_size=20, seed=1, epoch=0, shuffle=True):
            log.append("read")
            yield part.images[plan.positions], part.labels[plan.positions], plan
    finally:
        log.append("closed")


@pytest.mark.parametrize("name", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_batches_come_whole_in_order_and_what_is_read_is_closed(name: str, colours: Task, colour_split: Split) -> None:
    prepare = Preparation.of(colours, ["crop", "flip"], torch.device(name))
    log: list[str] = []
    found = list(transfer.prepared(_stored(prepare, colour_split, log), prepare, 20))
    assert log == ["read"] * 3 + ["closed"]
    assert [len(labels) for _, labels in found] == [20, 20, 13]
    on_cpu = prepare.on(torch.device("cpu"))
    for (images, labels), stored in zip(found, _stored(on_cpu, colour_split, []), strict=True):
        expected, expected_labels = on_cpu(stored[0], stored[1], stored[2].numbers)
        torch.testing.assert_close(images.cpu(), expected, rtol=1e-6, atol=1e-6)
        assert torch.equal(labels.cpu(), expected_labels)


def test_batches_that_are_read_together_are_the_same_as_one_by_one(colours: Task, colour_split: Split) -> None:
    assert isinstance(colour_split.images, torch.Tensor)
    prepare = Preparation.of(colours, ["crop", "flip", "cutout"], torch.device("cpu"))
    plans = list(prepare.plans(len(colour_split), batch_size=8, seed=1, epoch=0, shuffle=True))
    stored = [(colour_split.images[plan.positions], colour_split.labels[plan.positions], plan) for plan in plans]
    several = [Plan.joined(plans[:3]), Plan.joined(plans[3:])]
    together = [(colour_split.images[plan.positions], colour_split.labels[plan.positions], plan) for plan in several]
    one_by_one = list(transfer.prepared(iter(stored), prepare, 8))
    assert [len(labels) for _, labels in one_by_one] == [8] * 6 + [5]
    for found, expected in zip(transfer.prepared(iter(together), prepare, 8), one_by_one, strict=True):
        assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("name", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_leaving_early_closes_what_is_read(name: str, colours: Task, colour_split: Split) -> None:
    prepare = Preparation.of(colours, [], torch.device(name))
    log: list[str] = []
    batches = transfer.prepared(_stored(prepare, colour_split, log), prepare, 20)
    next(batches)
    del batches
    assert log == ["read", "closed"]


def test_on_a_cpu_nothing_is_read_before_it_is_asked_for(colours: Task, colour_split: Split) -> None:
    prepare = Preparation.of(colours, [], torch.device("cpu"))
    log: list[str] = []
    batches = transfer.prepared(_stored(prepare, colour_split, log), prepare, 20)
    assert log == []
    next(batches)
    assert log == ["read"]


@needs_gpu
@pytest.mark.parametrize("kind", ["memory", "torch", pytest.param("ffcv", marks=needs_ffcv)])
def test_on_a_gpu_images_are_channels_last_and_survive_the_next_batch(
    kind: str, colours: Task, colour_split: Split
) -> None:
    batches = {}
    for device in ("cpu", "cuda"):
        loader = make_loader(
            kind,
            colours,
            colour_split,
            batch_size=8,
            seed=0,
            shuffle=True,
            augmentation=["crop", "flip", "cutout"],
            device=torch.device(device),
            workers=2,
        )
        batches[device] = list(loader.epoch(0))
        loader.close()
    for (images, labels), (other, other_labels) in zip(batches["cpu"], batches["cuda"], strict=True):
        assert other.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(other.cpu(), images, rtol=1e-6, atol=1e-6)
        assert torch.equal(other_labels.cpu(), labels)
