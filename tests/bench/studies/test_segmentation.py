"""Segmentation on a small data set in the layout of Cityscapes: real PNG files, two classes and ignored pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from baselines.conditional.segmentation import IGNORE
from bench import studies
from bench.errors import UserError
from bench.studies import cityscapes

ROAD, SKY, EGO = 7, 23, 1  # labels in files; trained as 0 and 10, and ignored
OPTIONS = {
    "epochs": 60, "batch_size": 4, "crop": 64, "architecture": "imagenet-18", "width": 0.25, "head": 16,
    "learning_rate": 0.05, "l0_weight": 0.1,
}  # fmt: skip


def write(root, split, count, seed):
    """Grey road below a blue sky, each image with its own horizon, and an ignored strip at the bottom."""
    draw = np.random.default_rng(seed)
    for kind in ("leftImg8bit", "gtFine"):
        (root / kind / split / "town").mkdir(parents=True, exist_ok=True)
    for index in range(count):
        horizon = int(draw.integers(20, 44))
        image = np.full((64, 96, 3), (90, 90, 90), dtype=np.uint8)
        image[:horizon] = (60, 120, 220)
        noise = draw.integers(-20, 20, image.shape)
        labels = np.full((64, 96), ROAD, dtype=np.uint8)
        labels[:horizon] = SKY
        labels[-6:] = EGO
        name = f"town_{index:06d}_000019"
        pixels = np.clip(image.astype(int) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / "leftImg8bit" / split / "town" / f"{name}_leftImg8bit.png")
        Image.fromarray(labels).save(root / "gtFine" / split / "town" / f"{name}_gtFine_labelIds.png")


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data" / "cityscapes"
    write(root, "train", 12, 0)
    write(root, "val", 4, 1)
    return tmp_path / "data"


def run(data, tmp_path, **options):
    request = studies.Request(None, 4, 0, data)
    return studies.run("segmentation", request, tmp_path / "out", {**OPTIONS, **options})


@pytest.mark.slow
def test_gated_and_ungated_networks_learn_it(data, tmp_path):
    record, figures = run(data, tmp_path)
    rows = {row[0]: row[1:] for row in record.rows}
    assert set(rows) == {"none", "channels"}
    for iou, accuracy, _, _, _ in rows.values():
        assert iou > 94
        assert accuracy > 97
    assert rows["none"][3] == 100.0
    assert rows["channels"][3] < 100.0
    assert [path.name for path in figures] == ["masks.png"]


def test_labels_of_files_become_the_19_classes(data):
    image, mask = cityscapes.sample(cityscapes.read(cityscapes.locate(data), "val"), 0)
    assert (image.shape, image.dtype) == ((3, 64, 96), torch.uint8)
    assert mask.unique().tolist() == [0, 10, IGNORE]
    assert (mask[-6:] == IGNORE).all()


def test_batches_are_functions_of_seed_and_epoch_and_images_move_with_their_masks(data):
    train = cityscapes.read(cityscapes.locate(data), "train")

    def take(seed, epoch):
        return list(cityscapes.batches(train, crop=48, batch_size=5, seed=seed, epoch=epoch))

    first = take(0, 0)
    assert len(first) == 2  # of 12 images the last two are left out
    assert all(
        torch.equal(a, b) for one, two in zip(first, take(0, 0), strict=True) for a, b in zip(one, two, strict=True)
    )
    assert not torch.equal(first[0][0], take(0, 1)[0][0])
    assert not torch.equal(first[0][0], take(1, 0)[0][0])
    for images, masks in first:
        assert images.shape == (5, 3, 48, 48)
        blue = images[:, 2] - images[:, 0]
        assert blue[masks == 10].mean() > 1.5
        assert blue[masks == 0].mean() < 0.7


def test_images_are_scaled_from_half_to_twice_their_size(data):
    train = cityscapes.read(cityscapes.locate(data), "train")
    black = cityscapes.normalized(torch.zeros(1, 3, 1, 1, dtype=torch.uint8))
    scales = []
    for epoch in range(4):  # a crop larger than any image is filled up with black
        for images, _ in cityscapes.batches(train, crop=200, batch_size=6, seed=0, epoch=epoch):
            within = (images != black).any(1).sum((1, 2)) / (64 * 96)
            scales += within.sqrt().tolist()
    assert len(scales) == 48
    assert 0.49 < min(scales) < 0.65
    assert 1.7 < max(scales) < 2.02


def test_images_have_an_order_of_their_own_and_val_is_drawn_by_the_seed(data, tmp_path):
    val = cityscapes.read(cityscapes.locate(data), "val")
    assert val.images == sorted(val.images)
    assert [Path(mask).name[:18] for (mask,) in val.targets] == [Path(image).name[:18] for image in val.images]
    request = studies.Request(None, 2, 0, data)
    record, _ = studies.run("segmentation", request, tmp_path / "out", {**OPTIONS, "epochs": 1, "gates": ("none",)})
    assert record.notes[0].startswith("2 of 4 images of val, imagenet-18, 1 epochs of 12 images")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "gtFine").rename(root / "other"), "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest"),
        (lambda root: [path.unlink() for path in root.glob("leftImg8bit/val/*/*")], "has no image"),
        (lambda root: next(root.glob("gtFine/train/*/*")).unlink(), "labelIds.png is missing"),
        (lambda root: next(root.glob("leftImg8bit/val/*/*")).write_bytes(b"no picture"), "cannot be read"),
    ],
)
def test_an_incomplete_folder_is_one_sentence(data, tmp_path, spoil, message):
    spoil(data / "cityscapes")
    with pytest.raises(UserError, match=message):
        run(data, tmp_path, epochs=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 13}, "batch_size 13 is more than the 12 training images"),
        ({"epoch": 1}, "setting of segmentation"),
        ({"crop": 3}, "segmentation.crop = 3 is not valid"),
        ({"architecture": "cifar-20"}, "segmentation.architecture: .*needs a ResNet for large images"),
        ({"device": "gpu"}, "segmentation.device 'gpu' is not a device; valid are cpu, cuda and cuda:N"),
        ({"device": "cuda:99"}, "segmentation.device 'cuda:99': this machine has"),
    ],
)
def test_wrong_settings_are_one_sentence(data, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        run(data, tmp_path, **options)


def test_another_task_is_refused(data, tmp_path):
    with pytest.raises(UserError, match="has one task, cityscapes, not 'mnist'"):
        studies.run("segmentation", studies.Request("mnist", 4, 0, data), tmp_path)
