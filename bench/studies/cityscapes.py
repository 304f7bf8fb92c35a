"""Cityscapes (Cordts et al., CVPR 2016) through torchvision's reader: 19 classes, all else ignored."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
import torchvision
from torch import Tensor
from torchvision import tv_tensors
from torchvision.datasets import Cityscapes
from torchvision.transforms import v2

from baselines.conditional.segmentation import IGNORE
from bench import seeds
from bench.errors import UserError
from bench.inputs import cache_root

CLASSES = 19
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SCALES = (0.5, 2.0)
FOLDER = "cityscapes"
ARCHIVES = "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip"


def locate(data_dir: Path | None) -> Path:
    """The folder of the data set: ``cityscapes`` in a folder of data sets, or that folder itself.

    Raises:
        UserError: if it is not there; says what to download and where to put it.
    """
    root = cache_root() / "data" if data_dir is None else data_dir
    candidates = (root / FOLDER, root)
    for folder in candidates:
        if all((folder / kind / split).is_dir() for kind in ("leftImg8bit", "gtFine") for split in ("train", "val")):
            return folder
    raise UserError(
        f"Cityscapes is not in {root / FOLDER}: download {ARCHIVES} from the data set's own site, which asks for an "
        f"account, and unpack both there, so that it has the folders leftImg8bit/train and gtFine/train"
    )


def read(folder: Path, split: str) -> Cityscapes:
    """Read one split, "train" or "val".

    Raises:
        UserError: if it has no image, or an image has no mask.
    """
    try:
        data = Cityscapes(str(folder), split=split, mode="fine", target_type="semantic")
    except RuntimeError as error:
        raise UserError(f"{folder} cannot be read as Cityscapes: {str(error).splitlines()[0]}") from error
    if len(data) == 0:
        raise UserError(f"{folder / 'leftImg8bit' / split} has no image; unpack {ARCHIVES} into {folder}")
    for (mask,) in data.targets:
        if not Path(mask).is_file():
            raise UserError(f"{mask} is missing; unpack gtFine_trainvaltest.zip into {folder}")
    pairs = sorted(zip(data.images, data.targets, strict=True))  # folders list files in arbitrary order
    data.images, data.targets = [image for image, _ in pairs], [target for _, target in pairs]
    return data


@cache
def _train_ids() -> Tensor:
    """Map from the labels in a file to the 19 classes or ``IGNORE``: (256,) int64."""
    table = torch.full((256,), IGNORE)
    for each in Cityscapes.classes:
        if 0 <= each.id < len(table) and 0 <= each.train_id < CLASSES:
            table[each.id] = each.train_id
    return table


def colors() -> dict[int, tuple[int, int, int]]:
    """The data set's color of each of the 19 classes."""
    return {each.train_id: each.color for each in Cityscapes.classes if 0 <= each.train_id < CLASSES}


def sample(data: Cityscapes, index: int) -> tuple[Tensor, Tensor]:
    """An image (3, H, W) uint8 and its mask (H, W) int64.

    Raises:
        UserError: if a file is damaged; names the file.
    """
    try:
        image, mask = data[index]
    except OSError as error:
        raise UserError(f"{data.images[index]} or its mask cannot be read: {error}") from error
    functional = torchvision.transforms.v2.functional
    return functional.pil_to_tensor(image), _train_ids()[functional.pil_to_tensor(mask)[0].long()]


def normalized(images: Tensor) -> Tensor:
    """Normalise images (B, 3, H, W) uint8 for a network: float32."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (images.float() / 255 - mean) / std


def batches(data: Cityscapes, *, crop: int, batch_size: int, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Training batches of an epoch: randomly scaled, cropped and mirrored.

    Order and augmentation are functions of (seed, epoch, index). A smaller last batch is dropped, as a network that
    normalises over a batch needs more than one image.

    Yields:
        images (B, 3, crop, crop) float32, normalised, and masks (B, crop, crop) int64.
    """
    order = torch.randperm(len(data), generator=seeds.generator(seed, epoch, "order")).tolist()
    filling = {tv_tensors.Image: 0, tv_tensors.Mask: IGNORE}
    cut = v2.RandomCrop(crop, pad_if_needed=True, fill=filling)
    for start in range(0, len(order) - batch_size + 1, batch_size):
        images, masks = [], []
        for index in order[start : start + batch_size]:
            image, mask = sample(data, index)
            height, width = image.shape[1:]
            jitter = v2.ScaleJitter((width, height), SCALES)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seeds.derive(seed, epoch, index))
                moved = v2.Compose([jitter, cut, v2.RandomHorizontalFlip()])(
                    tv_tensors.Image(image), tv_tensors.Mask(mask)
                )
            images.append(moved[0].as_subclass(Tensor))
            masks.append(moved[1].as_subclass(Tensor))
        yield normalized(torch.stack(images)), torch.stack(masks)
