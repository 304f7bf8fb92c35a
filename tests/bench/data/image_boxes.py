"""Random boxes and image files for tests: the boxes by plain arithmetic, one at a time."""

import math
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.sets.folders import Folder


def scalar_box(numbers: list[float], height: int, width: int) -> tuple[int, int, int, int]:
    """Boxes of torchvision's RandomResizedCrop, from ten drawn areas, ten ratios and a place."""
    for area, ratio in zip(numbers[:10], numbers[10:20], strict=True):
        target = height * width * (0.08 + 0.92 * area)
        aspect = math.exp(math.log(3 / 4) + (math.log(4 / 3) - math.log(3 / 4)) * ratio)
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(numbers[20] * (height - h + 1)), int(numbers[21] * (width - w + 1)), h, w
    if width / height < 3 / 4:
        w, h = width, round(width / (3 / 4))
    elif width / height > 4 / 3:
        w, h = round(height * 4 / 3), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


def write_pictures(
    root: Path, *, classes: int = 3, train: int = 8, test: int = 4, size: tuple[int, int] | None = None, seed: int = 0
) -> Folder:
    """Smooth JPEG files of random colours, in folders of classes; every fifth is grey; of many sizes or of one."""
    random = np.random.default_rng(seed)
    for part, count in (("train", train), ("val", test)):
        for label in range(classes):
            place = root / "pictures" / part / f"class{label}"
            place.mkdir(parents=True)
            for number in range(count):
                height, width = size or tuple(random.integers(20, 60, 2).tolist())
                coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
                picture = coarse.resize((width, height), Image.Resampling.BICUBIC)
                if number % 5 == 4:
                    picture = picture.convert("L")
                picture.save(place / f"{number}.JPEG", quality=92)
    return Folder("pictures/train", "pictures/val", classes, classes * train, classes * test, "make some pictures")
