from pathlib import Path

import pytest
import torch

from bench.data import loaders
from bench.data.batches.plan import Preparation
from bench.data.batches.scaling import Scaling
from bench.data.loaders import Loader, make_loader, resolve_kind
from bench.data.sets.splits import Split, split
from bench.data.sets.tasks import DIGITS, Task, get_task
from bench.errors import UserError

CPU = torch.device("cpu")

needs_ffcv = pytest.mark.skipif(not loaders._ffcv_works(), reason="needs FFCV, which is not installed")


def _memory(
    task: Task, part: Split, *, seed: int = 3, shuffle: bool = True, augmentation: tuple[str, ...] = ()
) -> Loader:
    return make_loader(
        "memory", task, part, batch_size=8, seed=seed, shuffle=shuffle, augmentation=augmentation, device=CPU
    )


def test_every_sample_comes_once_an_epoch(colours: Task, colour_split: Split) -> None:
    numbered = Split(colour_split.images, torch.arange(53), colour_split.indices, "train")
    loader = _memory(colours, numbered)
    batches = [labels for _, labels in loader.epoch(0)]
    assert [len(labels) for labels in batches] == [8] * 6 + [5]
    assert len(loader) == 7
    assert loader.samples == 53
    assert torch.cat(batches).sort().values.tolist() == list(range(53))


def test_epochs_are_functions_of_seed_and_number(colours: Task, colour_split: Split) -> None:
    loader = _memory(colours, colour_split, augmentation=("crop",))

    def epoch(loader: Loader, number: int) -> torch.Tensor:
        return torch.cat([images for images, _ in loader.epoch(number)])

    later, first = epoch(loader, 1), epoch(loader, 0)
    again = _memory(colours, colour_split, augmentation=("crop",))
    assert torch.equal(epoch(again, 0), first)
    assert torch.equal(epoch(again, 1), later)
    assert not torch.equal(first, later)
    assert not torch.equal(epoch(_memory(colours, colour_split, seed=4, augmentation=("crop",)), 0), first)


def test_without_shuffling_the_split_keeps_its_order(colours: Task, colour_split: Split) -> None:
    batches = list(_memory(colours, colour_split, shuffle=False).epoch(5))
    assert isinstance(colour_split.images, torch.Tensor)
    expected, _ = Preparation.of(colours, [], CPU)(colour_split.images, colour_split.labels, ())
    assert torch.equal(torch.cat([images for images, _ in batches]), expected)
    assert torch.equal(torch.cat([labels for _, labels in batches]), colour_split.labels)


def test_batches_belong_to_the_caller(colours: Task, colour_split: Split) -> None:
    loader = _memory(colours, colour_split, shuffle=False)
    for images, labels in loader.epoch(0):
        images.zero_()
        labels.zero_()
    assert next(iter(loader.epoch(0)))[0].abs().max() > 0
    assert colour_split.labels.max() > 0


PARITY = [
    pytest.param("torch", 1),
    pytest.param("torch", 3),
    pytest.param("ffcv", 1, marks=[needs_ffcv, pytest.mark.slow]),
    pytest.param("ffcv", 3, marks=[needs_ffcv, pytest.mark.slow]),
]
AUGMENTATIONS: list[tuple[tuple[str, ...], bool, Scaling]] = [
    ((), False, "standard"),
    (("shift", "flip"), False, "unit"),
    (("crop", "alternating-flip", "cutout"), True, "standard"),
    (("resized-crop", "flip", "cutout"), True, "standard"),
    (("crop", "flip", "colour-jitter", "greyscale"), True, "rms"),
]


@pytest.mark.usefixtures("keep_threads")
@pytest.mark.parametrize(("augmentation", "shuffle", "scaling"), AUGMENTATIONS)
@pytest.mark.parametrize("name", ["digits", "colours"])
@pytest.mark.parametrize(("kind", "workers"), PARITY)
def test_all_kinds_give_the_same_tensors(
    kind: str,
    workers: int,
    name: str,
    shuffle: bool,
    augmentation: tuple[str, ...],
    scaling: Scaling,
    betons: Path,
    colours: Task,
    colour_split: Split,
) -> None:
    task = {"digits": DIGITS, "colours": colours}[name]
    part = {"digits": lambda: split(DIGITS, DIGITS.read(None)).validation, "colours": lambda: colour_split}[name]()
    torch.set_num_threads(2)

    def made(kind: str, workers: int | None) -> Loader:
        return make_loader(
            kind,
            task,
            part,
            batch_size=24,
            seed=11,
            shuffle=shuffle,
            augmentation=augmentation,
            device=CPU,
            cache_dir=betons,
            resolutions=[(3, 9)],
            scaling=scaling,
            workers=workers,
        )

    pair = [made("memory", None), made(kind, workers)]
    assert [loader.kind for loader in pair] == ["memory", kind]
    assert torch.get_num_threads() == 2
    assert len(pair[0]) == len(pair[1])
    assert len(part) % 24 != 0
    for number in (0, 7, 0):
        # All batches are kept until the comparison, so that a buffer used twice shows.
        expected, found = (list(loader.epoch(number)) for loader in pair)
        assert [len(labels) for _, labels in found] == [len(labels) for _, labels in expected]
        for (images, labels), (other_images, other_labels) in zip(expected, found, strict=True):
            assert torch.equal(images, other_images)
            assert images.shape[2:] == (task.shape[1:] if number == 0 else (9, 9))
            assert torch.equal(labels, other_labels)
        assert torch.get_num_threads() == 2
    assert pair[0].digest == pair[1].digest
    pair[1].close()


@pytest.mark.parametrize(
    ("augmentation", "shuffle", "scaling"), [each for each in AUGMENTATIONS if "resized-crop" not in each[0]]
)
@pytest.mark.parametrize("name", ["digits", "colours"])
@pytest.mark.parametrize("ahead", [1, 3, 64])
def test_the_loader_on_the_device_gives_those_of_memory(
    ahead: int,
    name: str,
    shuffle: bool,
    augmentation: tuple[str, ...],
    scaling: Scaling,
    colours: Task,
    colour_split: Split,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.data.batches.device_loader.AHEAD", ahead)
    task = {"digits": DIGITS, "colours": colours}[name]
    part = split(DIGITS, DIGITS.read(None)).validation if name == "digits" else colour_split
    pair = [
        make_loader(
            kind,
            task,
            part,
            batch_size=24,
            seed=11,
            shuffle=shuffle,
            augmentation=augmentation,
            device=CPU,
            scaling=scaling,
        )
        for kind in ("memory", "device")
    ]
    assert pair[1].kind == "device"
    assert (len(pair[1]), pair[1].samples, pair[1].digest) == (len(pair[0]), pair[0].samples, pair[0].digest)
    for number in (0, 7, 0):
        expected, found = (list(loader.epoch(number)) for loader in pair)
        assert len(found) == len(expected) == -(-len(part) // 24)
        for (images, labels), (other_images, other_labels) in zip(expected, found, strict=True):
            assert torch.equal(images, other_images)
            assert torch.equal(labels, other_labels)


@pytest.mark.parametrize(("augmentation", "resolutions"), [(("resized-crop",), []), ((), [(2, 9)])])
def test_what_has_to_be_resampled_is_not_for_the_device(
    augmentation: tuple[str, ...], resolutions: list[tuple[int, int]], colours: Task, colour_split: Split
) -> None:
    with pytest.raises(UserError, match="loader 'device' takes images as they are stored"):
        make_loader(
            "device",
            colours,
            colour_split,
            batch_size=8,
            seed=0,
            shuffle=False,
            augmentation=augmentation,
            device=CPU,
            resolutions=resolutions,
        )


@pytest.mark.parametrize(
    "kind", ["memory", "device", "torch", pytest.param("ffcv", marks=[needs_ffcv, pytest.mark.slow])]
)
def test_evaluation_sees_every_sample_once(kind: str, colours: Task, colour_split: Split, betons: Path) -> None:
    loader = make_loader(
        kind, colours, colour_split, batch_size=8, seed=0, shuffle=False, augmentation=(), device=CPU, cache_dir=betons
    )
    assert isinstance(colour_split.images, torch.Tensor)
    images = torch.cat([images for images, _ in loader.epoch(0)])
    expected, _ = Preparation.of(colours, [], CPU)(colour_split.images, colour_split.labels, ())
    assert torch.equal(images, expected)
    loader.close()


def test_the_number_of_workers_comes_from_the_environment(
    colours: Task, colour_split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_WORKERS", "0")
    with pytest.raises(UserError, match="BENCH_WORKERS must be a number from 1, got '0'"):
        _memory(colours, colour_split)
    monkeypatch.setenv("BENCH_WORKERS", "3")
    assert loaders.workers_wanted() == 3


def test_auto_is_ffcv_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders, "_ffcv_works", lambda: True)
    assert [resolve_kind(kind) for kind in ("auto", "ffcv", "memory", "torch")] == ["ffcv", "ffcv", "memory", "torch"]
    monkeypatch.setattr(loaders, "_ffcv_works", lambda: False)
    assert [resolve_kind(kind) for kind in ("auto", "memory")] == ["memory", "memory"]


def test_auto_is_on_the_device_where_the_data_can_be_there(colours: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders, "_ffcv_works", lambda: True)
    assert loaders.fits_on_device(colours, ("crop", "flip"))
    assert not loaders.fits_on_device(colours, ("resized-crop",))
    assert not loaders.fits_on_device(colours, (), [(2, 9)])
    assert not loaders.fits_on_device(get_task("imagenette"))
    assert resolve_kind("auto", "cuda", fits=True) == "device"
    assert resolve_kind("auto", "cuda") == resolve_kind("auto", "cpu", fits=True) == "ffcv"
    assert resolve_kind("memory", "cuda", fits=True) == "memory"


def test_missing_ffcv_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders, "_ffcv_works", lambda: False)
    with pytest.raises(UserError, match=r"apt-get install g\+\+ libopencv-dev .* pip install ffcv"):
        resolve_kind("ffcv")


def test_unknown_kind() -> None:
    with pytest.raises(UserError, match="unknown loader 'memmory': did you mean 'memory'"):
        resolve_kind("memmory")


@pytest.mark.parametrize(("batch_size", "samples", "message"), [(0, 53, "at least 1, got 0"), (8, 0, "is empty")])
def test_nothing_to_load(colours: Task, colour_split: Split, batch_size: int, samples: int, message: str) -> None:
    part = Split(colour_split.images[:samples], colour_split.labels[:samples], torch.arange(samples), "train")
    with pytest.raises(UserError, match=message):
        make_loader("memory", colours, part, batch_size=batch_size, seed=0, shuffle=True, augmentation=[], device=CPU)
