"""How well images survive a pool: pooled, resampled to their size, and compared with the original.

Similarity is SSIM (Wang, Bovik, Sheikh, Simoncelli 2004: Gaussian window with sigma 1.5) and PSNR, both by
scikit-image. Images are restored by bilinear interpolation, whatever the pool. SoftPool depends on the range of its
input, as e^x does: it is shown for images from 0 to 1 and from 0 to 255; the others do not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

import matplotlib as mpl
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from asge.layers.pooling import Pooling, pool
from bench import seeds
from bench.data.sets import tasks
from bench.data.sets.arrays import Images, pixels
from bench.errors import UserError
from bench.statistics import half_width
from bench.studies.study import Findings, Request, Study

mpl.use("Agg")

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

KERNELS = (2, 3, 5)
SHOWN = 3
"""Number of images in the picture."""
SMALLEST = 15
"""SSIM's window has 11 pixels, and pooling windows of 5 must leave as many."""


@dataclass(frozen=True)
class Way:
    """A pool, and the range of its input images."""

    kind: Pooling
    greatest: int

    @property
    def name(self) -> str:
        """Name in tables."""
        return self.kind if self.kind != "soft" else f"soft, 0 to {self.greatest}"


WAYS = (Way("avg", 1), Way("soft", 1), Way("rms", 1), Way("soft", 255), Way("max", 1))


def restored(images: Tensor, way: Way, kernel: int) -> Tensor:
    """Pool and restore.

    Args:
        images: (B, C, H, W) from 0 to 1; H and W are multiples of the kernel.
        way: which pool.
        kernel: side of its adjacent windows.

    Returns:
        (B, C, H, W), from 0 to 1.
    """
    pooled = pool(images * way.greatest, way.kind, kernel) / way.greatest
    return F.interpolate(pooled, size=images.shape[2:], mode="bilinear", align_corners=False)


def measure(request: Request) -> Findings:
    """Measure SSIM and PSNR of test images by pool and window, with figures."""
    task = tasks.get_task(request.task or "cifar10")
    if min(task.shape[1:]) < SMALLEST:
        raise UserError(f"images of {task.title} are too small to compare: they need {SMALLEST} pixels a side")
    images = _drawn(task.read(request.data_dir).test_images, task.shape, request).float() / 255
    rows: list[list[str | int | float]] = []
    similarities: list[dict[str, Any]] = []
    for kernel in KERNELS:
        whole = _cut(images, kernel)
        for way in WAYS:
            ssim, psnr = _similarity(whole, restored(whole, way, kernel))
            finite = [value for value in psnr if value != float("inf")]
            rows.append(
                [
                    way.name,
                    kernel,
                    round(fmean(ssim), 4),
                    round(half_width(ssim) or 0.0, 4),
                    round(fmean(finite), 3) if finite else "-",
                    round(half_width(finite) or 0.0, 3) if finite else "-",
                    len(psnr) - len(finite),
                ]
            )
            similarities += [
                {"pool": way.name, "kernel": kernel, "SSIM": one, "PSNR (dB)": other}
                for one, other in zip(ssim, psnr, strict=True)
            ]
    columns = ("pool, input", "kernel", "SSIM", "± SSIM", "PSNR dB", "± PSNR", "restored to the bit")
    notes = [
        f"{request.samples} test images of {task.title}, drawn with seed {request.seed}",
        "± is half the 95 % interval of the mean over images; PSNR leaves out images that are restored exactly",
        "restored by bilinear interpolation; pixels beyond the last whole window are cut off",
    ]
    figures: dict[str, Callable[[], Figure]] = {
        "pooled-images": partial(_picture, images[:SHOWN]),
        "similarity": partial(_chart, pd.DataFrame(similarities), task.title),
    }
    return Findings(task.name, columns, rows, notes, figures)


STUDY = Study("How well pools preserve images: SSIM and PSNR by pool and window, and a picture", measure)


def _drawn(images: Images, shape: tuple[int, int, int], request: Request) -> Tensor:
    if request.samples > len(images):
        raise UserError(f"--samples {request.samples} is more than the {len(images)} test images there are")
    order = torch.randperm(len(images), generator=seeds.generator(request.seed, "pooling-preservation"))
    return pixels(images[order[: request.samples]], shape)


def _cut(images: Tensor, kernel: int) -> Tensor:
    height, width = (side - side % kernel for side in images.shape[2:])
    return images[:, :, :height, :width]


def _similarity(images: Tensor, others: Tensor) -> tuple[list[float], list[float]]:
    """SSIM and PSNR of every image, with values from 0 to 1."""
    from skimage import metrics  # a second to import

    structural: Any = partial(
        metrics.structural_similarity,
        data_range=1.0,
        channel_axis=0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    signal_to_noise: Any = partial(metrics.peak_signal_noise_ratio, data_range=1.0)
    ssim, psnr = [], []
    for image, other in zip(images.double().numpy(), others.double().numpy(), strict=True):
        ssim.append(float(structural(image, other)))
        psnr.append(float("inf") if (image == other).all() else float(signal_to_noise(image, other)))
    return ssim, psnr


def _picture(images: Tensor) -> Figure:
    """Some images next to their restored versions, one row per image and window."""
    lines = [(image, kernel) for image in images.split(1) for kernel in KERNELS]
    figure, axes = plt.subplots(
        len(lines), len(WAYS) + 1, figsize=(1.5 * (len(WAYS) + 1), 1.5 * len(lines)), layout="constrained"
    )
    for line, (image, kernel) in enumerate(lines):
        whole = _cut(image, kernel)
        shown = [("image", whole), *((way.name, restored(whole, way, kernel)) for way in WAYS)]
        for place, (name, values) in enumerate(shown):
            panel = axes[line][place]
            grey = values.shape[1] == 1
            panel.imshow(values[0].permute(1, 2, 0).clamp(0, 1).numpy(), cmap="gray" if grey else None, vmin=0, vmax=1)
            panel.set(xticks=[], yticks=[])
            panel.grid(visible=False)
            if line == 0:
                panel.set_title(name, fontsize=10)
        axes[line][0].set_ylabel(f"windows of {kernel}")
    return figure


def _chart(frame: pd.DataFrame, title: str) -> Figure:
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    finite = frame[frame["PSNR (dB)"] != float("inf")]
    for panel, value, data in ((axes[0], "SSIM", frame), (axes[1], "PSNR (dB)", finite)):
        sns.pointplot(
            data, x="kernel", y=value, hue="pool", palette="colorblind", dodge=0.3, linestyle="none", seed=0, ax=panel
        )
        panel.set(xlabel="side of the windows", title=title)
    axes[0].get_legend().remove()
    return figure
