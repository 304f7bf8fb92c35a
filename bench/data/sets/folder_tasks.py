"""Tasks whose images are folders of JPEG files."""

from __future__ import annotations

from pathlib import Path

from bench.data.sets import folders
from bench.data.sets.arrays import Arrays
from bench.data.sets.folders import Folder
from bench.data.sets.sources import locate
from bench.data.sets.tasks import Task

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CENTRE = 224 / 256  # as usual: the central 224 pixels of an image whose shorter side has 256


def _task(
    name: str,
    title: str,
    folder: Folder,
    side: int,
    validation_size: int,
    *,
    mean: tuple[float, ...] = _IMAGENET_MEAN,
    std: tuple[float, ...] = _IMAGENET_STD,
    evaluation_share: float = 1.0,
) -> Task:
    def read(data_dir: Path | None) -> Arrays:
        return folders.read(locate(made, data_dir), folder)

    made = Task(
        name=name,
        title=title,
        shape=(3, side, side),
        classes=folder.classes,
        mean=mean,
        std=std,
        validation_size=validation_size,
        test_size=folder.test_size,
        read=read,
        folder=folder,
        evaluation_share=evaluation_share,
    )
    return made


TINY_IMAGENET_20 = _task(
    "tiny-imagenet-20",
    "Tiny-ImageNet-20",
    Folder(
        "tiny-imagenet-20/train",
        "tiny-imagenet-20/val",
        classes=20,
        train_size=10_000,
        test_size=1_000,
        advice="download Tiny-ImageNet (tiny-imagenet-200.zip, cs231n.stanford.edu), and put the first 20 classes of "
        "its training and validation images into tiny-imagenet-20/train/CLASS and tiny-imagenet-20/val/CLASS",
    ),
    side=64,
    validation_size=1_000,
    mean=(0.4875, 0.4425, 0.3732),
    std=(0.2729, 0.2657, 0.2759),
)

TINY_IMAGENET = _task(
    "tiny-imagenet",
    "Tiny-ImageNet",
    Folder(
        "tiny-imagenet-200/train",
        "tiny-imagenet-200/val",
        classes=200,
        train_size=100_000,
        test_size=10_000,
        advice="download Tiny-ImageNet (tiny-imagenet-200.zip, cs231n.stanford.edu) and unpack it into the "
        "data folder, which then holds tiny-imagenet-200/train and tiny-imagenet-200/val",
    ),
    side=64,
    validation_size=5_000,
    mean=(0.4802, 0.4481, 0.3975),
    std=(0.2764, 0.2689, 0.2816),
)

IMAGENETTE = _task(
    "imagenette",
    "Imagenette",
    Folder(
        "imagenette2/train",
        "imagenette2/val",
        classes=10,
        train_size=9_469,
        test_size=3_925,
        advice="download Imagenette (imagenette2.tgz, github.com/fastai/imagenette) and unpack it into the "
        "data folder, which then holds imagenette2/train and imagenette2/val",
    ),
    side=128,
    validation_size=1_000,
    evaluation_share=_CENTRE,
)

IMAGENET = _task(
    "imagenet",
    "ImageNet",
    Folder(
        "imagenet/train",
        "imagenet/val",
        classes=1_000,
        train_size=1_281_167,
        test_size=50_000,
        advice="download the images of ILSVRC 2012 (image-net.org, after registration) and unpack them, one folder per "
        "class, into imagenet/train and imagenet/val in the data folder",
    ),
    side=224,
    validation_size=50_000,
    evaluation_share=_CENTRE,
)
