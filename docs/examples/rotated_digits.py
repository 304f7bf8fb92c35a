"""A task of your own: how far is a digit turned, in quarters of a circle."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from bench.plugins import Arrays, Task

TEST_SIZE = 500


def read(_data_dir: Path | None) -> Arrays:
    """scikit-learn's 8x8 digits, each turned by 0, 90, 180 or 270 degrees: labels 0 to 3."""
    pixels = load_digits().images  # (1797, 8, 8), from 0 to 16
    labels = np.arange(len(pixels)) % 4
    turned = np.stack([np.rot90(image, turns) for image, turns in zip(pixels, labels, strict=True)])
    images = np.rint(turned * (255 / 16)).astype(np.uint8)[:, None]  # (N, channels, height, width)
    return Arrays.from_numpy(images[:-TEST_SIZE], labels[:-TEST_SIZE], images[-TEST_SIZE:], labels[-TEST_SIZE:])


ROTATED_DIGITS = Task(
    name="rotated-digits",
    title="rotated digits",
    shape=(1, 8, 8),
    classes=4,
    mean=(0.3059,),
    std=(0.3754,),
    validation_size=200,
    test_size=TEST_SIZE,
    read=read,
    class_names=("0 degrees", "90 degrees", "180 degrees", "270 degrees"),
)
