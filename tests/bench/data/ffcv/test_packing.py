import io
import resource
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from image_boxes import write_pictures
from PIL import Image

from bench.data.ffcv import beton
from bench.data.ffcv.packing import Packing, page_bytes
from bench.data.loaders import _ffcv_works, make_loader
from bench.data.sets import folders
from bench.data.sets.encoded import Encoded, Listing
from bench.data.sets.files import FileStatus
from bench.data.sets.splits import Split, split
from bench.data.sets.tasks import Task
from bench.errors import LoaderError, UserError

needs_ffcv = pytest.mark.skipif(not _ffcv_works(), reason="needs FFCV, which is not installed")
CPU = torch.device("cpu")


@pytest.fixture
def pictures(tmp_path: Path) -> Task:
    """JPEG files of many sizes."""
    folder = write_pictures(tmp_path / "data")
    return _task(tmp_path, folder)


def _task(tmp_path: Path, folder: folders.Folder, shape: tuple[int, int, int] = (3, 16, 16)) -> Task:
    return Task(
        name="pictures",
        title="pictures",
        shape=shape,
        classes=3,
        mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.3, 0.25),
        validation_size=6,
        test_size=12,
        read=lambda _: folders.read(tmp_path / "data", folder),
        folder=folder,
        evaluation_share=0.75,
    )


def _listing(task: Task) -> Listing:
    images = task.read(None).train_images
    assert isinstance(images, Encoded)
    return images.listing


@pytest.mark.parametrize(
    ("text", "packing"),
    [
        ("jpeg", Packing()),
        ("raw", Packing(share=0)),
        ("raw,side=40", Packing(share=0, side=40)),
        ("jpeg,share=0.5,quality=90,side=400", Packing(0.5, 90, 400)),
    ],
)
def test_packings_as_text(text: str, packing: Packing) -> None:
    assert Packing.parse(text) == packing
    assert str(packing) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jpg", "unknown packing 'jpg': did you mean 'jpeg'"),
        ("raw,quality=3", "unknown option of packing 'raw' 'quality'"),
        ("jpeg,quality=x", "quality must be a number, got 'x'"),
        ("jpeg,quality=101", "quality must be from 1 to 100, got 101"),
        ("jpeg,share=2", r"share must be from 0 to 1, got 2\.0"),
        ("jpeg,side=0", "side must be at least 1, got 0"),
    ],
)
def test_bad_packings_are_one_sentence(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Packing.parse(text)


def test_what_is_stored_of_an_image(pictures: Task) -> None:
    listing = _listing(pictures)
    path = listing.path(0)
    is_jpeg, height, width, content = Packing().stored(path, 0)
    with Image.open(path) as image:
        pixels = np.asarray(image)
    assert is_jpeg
    assert (height, width) == pixels.shape[:2]
    assert content.tobytes() == path.read_bytes()
    is_jpeg, height, width, content = Packing(share=0).stored(path, 0)
    assert not is_jpeg
    assert np.array_equal(content.reshape(height, width, 3), pixels)
    is_jpeg, height, width, content = Packing(side=10, quality=50).stored(path, 0)
    assert is_jpeg
    assert max(height, width) == 10
    with Image.open(io.BytesIO(content.tobytes())) as image:
        assert image.size == (width, height)


def test_the_share_of_images_stored_as_jpeg() -> None:
    half = [Packing(share=0.5).as_jpeg(row) for row in range(10_000)]
    assert 0.47 < np.mean(half) < 0.53  # six standard deviations
    assert half == [Packing(share=0.5).as_jpeg(row) for row in range(10_000)]
    assert all(Packing().as_jpeg(row) for row in range(100))
    assert not any(Packing(share=0).as_jpeg(row) for row in range(100))


@pytest.mark.parametrize(("largest", "page"), [(1, 1 << 23), (1 << 23, 1 << 23), ((1 << 23) + 1, 1 << 24)])
def test_pages_hold_the_largest_image(largest: int, page: int) -> None:
    assert page_bytes(largest) == page


@pytest.mark.slow
@needs_ffcv
@pytest.mark.parametrize("augmentation", [(), ("resized-crop", "flip")])
def test_raw_files_give_what_the_torch_loader_gives(
    augmentation: tuple[str, ...], pictures: Task, betons: Path
) -> None:
    # Boxes smaller than twice the side, so that no file is decoded at a reduced size.
    task = replace(pictures, shape=(3, 31, 33))
    part = split(task, task.read(None)).train
    found = {}
    for kind in ("torch", "ffcv"):
        for workers in (1, 2):
            loader = make_loader(
                kind,
                task,
                part,
                batch_size=5,
                seed=3,
                shuffle=True,
                augmentation=augmentation,
                device=CPU,
                packing="raw",
                cache_dir=betons,
                workers=workers,
            )
            found[kind, workers] = [(images, labels) for epoch in (0, 1) for images, labels in loader.epoch(epoch)]
            loader.close()
    expected = found.pop(("torch", 1))
    assert sum(len(labels) for _, labels in expected) == 2 * 18
    for batches in found.values():
        for (images, labels), (other_images, other_labels) in zip(expected, batches, strict=True):
            assert torch.equal(images, other_images)
            assert torch.equal(labels, other_labels)


@pytest.mark.slow
@needs_ffcv
def test_jpeg_files_give_nearly_that(pictures: Task, betons: Path) -> None:
    part = split(pictures, pictures.read(None)).train
    found = []
    for kind, workers in (("torch", 1), ("ffcv", 1), ("ffcv", 3)):
        loader = make_loader(
            kind,
            pictures,
            part,
            batch_size=18,
            seed=3,
            shuffle=True,
            augmentation=("resized-crop",),
            device=CPU,
            cache_dir=betons,
            workers=workers,
        )
        found.append(next(iter(loader.epoch(0)))[0])
        loader.close()
    assert torch.equal(found[1], found[2])
    # FFCV decodes with a faster, coarser transform: a level or two of 255, and a level is at most 1/51 here.
    assert (found[0] - found[1]).abs().mean() < 2 / 51


@pytest.mark.slow
@needs_ffcv
def test_a_packed_file_is_the_same_every_time_and_is_verified(pictures: Task, tmp_path: Path) -> None:
    listing, packing = _listing(pictures), Packing.parse("jpeg,share=0.5,side=40")
    images = Encoded.all(listing)
    told: list[tuple[str, int, int]] = []

    def pack() -> Path:
        return beton.ensure_packed(pictures, listing, "train", packing, tmp_path, lambda *step: told.append(step))

    def state() -> FileStatus:
        return beton.verify(pictures, images, path)

    path = pack()
    assert path.name == "pictures-train-jpeg-share0.5-side40.beton"
    assert told[-1] == (f"writing {path.name}", 24, 24)
    assert ("checking pictures train", 24, 24) in told
    written = path.read_bytes()
    assert state() == FileStatus(path.name, "ok", "24 samples")

    path.write_bytes(written[:-1])
    assert state().detail == "its sha256 is not that of its manifest"
    pack()
    assert path.read_bytes() == written

    # The same name, size and label, but another picture.
    one = listing.path(3)
    content = bytearray(one.read_bytes())
    content[-3] ^= 1
    one.write_bytes(content)
    assert state().detail == "stale: its sources have changed since it was written"
    path.unlink()
    assert state().status == "missing"


@pytest.mark.slow
@needs_ffcv
def test_a_stale_file_is_named_and_written_anew(
    pictures: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = beton.ensure_packed(pictures, _listing(pictures), "train", Packing(), tmp_path)
    written = path.read_bytes()
    first = _listing(pictures).path(0)
    with Image.open(first) as image:
        image.rotate(180).save(first, quality=10)
    assert beton.ensure_packed(pictures, _listing(pictures), "train", Packing(), tmp_path) == path
    assert capsys.readouterr().err == f"note: {path} is stale; rewriting it\n"
    assert path.read_bytes() != written


def test_nothing_is_written_of_a_set_with_a_bad_image(pictures: Task, tmp_path: Path) -> None:
    listing = _listing(pictures)
    bad = listing.path(20)
    bad.write_bytes(bad.read_bytes()[:-100])
    with pytest.raises(LoaderError, match=f"{bad} cannot be decoded: .*; replace the file"):
        beton.ensure_packed(pictures, listing, "train", Packing(), tmp_path)
    assert [file.suffix for file in (tmp_path / "betons").iterdir()] == [".lock"]


def test_nothing_is_written_of_a_set_with_a_label_out_of_range(pictures: Task, tmp_path: Path) -> None:
    listing = _listing(pictures)
    labels = listing.labels.clone()
    labels[7] = 3
    with pytest.raises(UserError, match=f"{listing.path(7)} has label 3, but labels run from 0 to 2"):
        beton.ensure_packed(pictures, replace(listing, labels=labels), "train", Packing(), tmp_path)
    assert not (tmp_path / "betons").exists()


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Limit files to 20 kB, for this process and its children, of which the writer is one here."""
    monkeypatch.setattr("bench.data.ffcv.beton_writer.sys", sys)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
@needs_ffcv
@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_one_sentence_and_leaves_nothing(pictures: Task, tmp_path: Path) -> None:
    with pytest.raises(LoaderError, match=r"FFCV could not write 24 samples: OSError.* File too large"):
        beton.ensure_packed(pictures, _listing(pictures), "train", Packing(), tmp_path)
    assert [file.suffix for file in (tmp_path / "betons").iterdir()] == [".lock"]


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_with_images_in_memory(colours: Task, tmp_path: Path) -> None:
    images = torch.zeros(400, *colours.shape, dtype=torch.uint8)
    part = Split(images, torch.zeros(400, dtype=torch.int64), torch.arange(400), "train")
    with pytest.raises(UserError, match=r"betons/colours-train-\w+\.beton cannot be written: "):
        beton.ensure_beton(colours, part, tmp_path)
    assert [file.suffix for file in (tmp_path / "betons").iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_written_to_is_named(pictures: Task, tmp_path: Path) -> None:
    (tmp_path / "betons").write_text("")
    with pytest.raises(UserError, match=f"{tmp_path}/betons/.* cannot be written: "):
        beton.ensure_packed(pictures, _listing(pictures), "train", Packing(), tmp_path)


@pytest.mark.slow
@needs_ffcv
def test_large_pictures_are_decoded_at_a_reduced_size(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "data", train=2, test=1, size=(256, 384))
    task = replace(_task(tmp_path, folder), validation_size=1, evaluation_share=1.0)
    part = split(task, task.read(None)).train
    assert isinstance(part.images, Encoded)
    batches = []
    for packing in ("jpeg", "raw"):
        loader = make_loader(
            "ffcv",
            task,
            part,
            batch_size=5,
            seed=0,
            shuffle=False,
            augmentation=(),
            device=CPU,
            packing=packing,
            cache_dir=tmp_path / packing,
        )
        batches.append(next(iter(loader.epoch(0)))[0])
        loader.close()
    # Smooth pictures look the same at an eighth of their size, whichever way they got there.
    assert batches[0].shape == (5, 3, 16, 16)
    assert (batches[0] - batches[1]).abs().mean() < 4 / 51


@pytest.mark.slow
@needs_ffcv
def test_a_picture_that_is_merely_odd_is_decoded_all_the_same(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "data", train=2, test=1, size=(16, 16))
    task = replace(_task(tmp_path, folder), validation_size=1, evaluation_share=1.0)
    part = split(task, task.read(None)).train
    assert isinstance(part.images, Encoded)
    path = part.images.path(3)
    content = path.read_bytes()
    scan = content.index(b"\xff\xda")
    # Libraries skip bytes between two segments, with a warning.
    path.write_bytes(content[:scan] + b"\0\1\2" + content[scan:])
    batches = []
    for kind in ("memory", "ffcv"):
        loader = make_loader(
            kind, task, part, batch_size=6, seed=0, shuffle=False, augmentation=(), device=CPU, cache_dir=tmp_path
        )
        batches.append(next(iter(loader.epoch(0)))[0])
        loader.close()
    assert torch.equal(batches[0][3], batches[1][3])
