"""PSPNets with and without gates on Cityscapes: mean intersection over union, pixel accuracy, and share of the work.

All networks are trained here on the same images in the same order; scores are those of the last epoch on all whole
images of the split ``val``, or on ``--samples`` of them. Published (Bejnordi et al., ICLR 2020): with gates IoU 0.719,
pixel accuracy 0.935, at 76.3 % of the work.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import torch
from annotated_types import Ge, Gt
from matplotlib.figure import Figure
from torch import Tensor

from asge.layers.gating import groups_without_decay
from baselines.conditional.bas import BASSettings
from baselines.conditional.batch_shaping import gate_losses
from baselines.conditional.gates import ChannelGate
from baselines.conditional.segmentation import IGNORE, Confusion, PSPNet, segmentation_loss
from bench import seeds
from bench.errors import UserError
from bench.inputs import device_name
from bench.studies import cityscapes
from bench.studies.study import Findings, Request, Study

COLUMNS = ("gates", "mIoU %", "pixel accuracy %", "GMAC per image", "share of the work %", "training s")
SHOWN = 3
"""Number of images on the page of masks."""
POWER = 0.9
"""Exponent of the learning rate, which falls as (1 - progress) to this power."""


@dataclass(frozen=True)
class Settings:
    """Settings of the study; the defaults are for a GPU.

    Attributes:
        epochs, batch_size: of training.
        crop: side of a training image, in pixels.
        architecture, width, head: see ``baselines.conditional.segmentation.PSPNet``.
        gates: the networks to compare.
        l0_weight, shaping_weight: of the gates, see ``baselines.conditional.bas``. A gate is shaped over the images of
            a batch, few at this image size: batch-shaping asks for 128 or more.
        learning_rate: of SGD with momentum 0.9 and weight decay 1e-4, without weight decay on gates.
        device: where to train: cpu, cuda or cuda:N.
    """

    epochs: Annotated[int, Ge(1)] = 80
    batch_size: Annotated[int, Ge(2)] = 8
    crop: Annotated[int, Ge(16)] = 512
    architecture: str = "imagenet-50"
    width: Annotated[float, Gt(0)] = 1.0
    head: Annotated[int, Ge(1)] = 512
    gates: tuple[Literal["none", "channels"], ...] = ("none", "channels")
    l0_weight: Annotated[float, Ge(0)] = 0.4
    shaping_weight: Annotated[float, Ge(0)] = 0.75
    learning_rate: Annotated[float, Gt(0)] = 0.01
    device: str = "cpu"


def measure(request: Request) -> Findings:
    """Measure scores by network, and draw a page of masks."""
    chosen: Settings = request.settings
    device_name(chosen.device, "segmentation.device")
    if request.task not in (None, "cityscapes"):
        raise UserError(f"study segmentation has one task, cityscapes, not {request.task!r}")
    folder = cityscapes.locate(request.data_dir)
    train, val = (cityscapes.read(folder, split) for split in ("train", "val"))
    if len(train) < chosen.batch_size:
        raise UserError(f"batch_size {chosen.batch_size} is more than the {len(train)} training images in {folder}")
    order = torch.randperm(len(val), generator=seeds.generator(request.seed, "segmentation", "val"))
    chosen_images = sorted(order[: request.samples].tolist())
    rows: list[list[str | int | float]] = []
    masks: dict[str, list[Tensor]] = {}
    ungated = 0.0
    for gates in chosen.gates:
        start = time.perf_counter()
        network = _trained(train, gates, chosen, request.seed)
        seconds = time.perf_counter() - start
        samples = (cityscapes.sample(val, index) for index in chosen_images)
        found, work, masks[gates] = _evaluated(network, samples, chosen)
        ungated = ungated or work
        share = round(100 * work / ungated, 1)
        scores = (round(found.mean_iou, 2), round(found.pixel_accuracy, 2), round(work / 1e9, 4))
        rows.append([str(gates), *scores, share, round(seconds, 1)])
    trained = f"{chosen.architecture}, {chosen.epochs} epochs of {len(train)} images, seed {request.seed}"
    notes = [
        f"{len(chosen_images)} of {len(val)} images of val, {trained}",
        f"the share of the work is that of {chosen.gates[0]!r}, the first network",
    ]
    truth = [cityscapes.sample(val, index) for index in chosen_images[:SHOWN]]
    figures = {"masks": partial(_page, truth, masks)}
    return Findings("cityscapes", COLUMNS, rows, notes, figures)


def _trained(train: Any, gates: Literal["none", "channels"], chosen: Settings, seed: int) -> PSPNet:
    generator = seeds.generator(seed, "segmentation")
    try:
        network = PSPNet(
            chosen.architecture,
            cityscapes.CLASSES,
            gating=gates,
            width=chosen.width,
            head=chosen.head,
            generator=generator,
        ).to(chosen.device)
    except ValueError as error:
        raise UserError(f"segmentation.architecture: {error}") from error
    of_gates = [p for part in network.modules() if isinstance(part, ChannelGate) for p in part.parameters()]
    groups = groups_without_decay(network, of_gates, 1e-4)
    optimiser = torch.optim.SGD(groups, chosen.learning_rate, momentum=0.9)
    losses = BASSettings(l0_weight=chosen.l0_weight, shaping_weight=chosen.shaping_weight, shaping_reduction="mean")
    steps, step = chosen.epochs * (len(train) // chosen.batch_size), 0
    network.train()
    for epoch in range(chosen.epochs):
        loader = cityscapes.batches(train, crop=chosen.crop, batch_size=chosen.batch_size, seed=seed, epoch=epoch)
        for images, masks in loader:
            for group in optimiser.param_groups:
                group["lr"] = chosen.learning_rate * (1 - step / steps) ** POWER
            optimiser.zero_grad()
            outcome = network(images.to(chosen.device))
            loss = segmentation_loss(outcome.logits, masks.to(chosen.device))
            if outcome.soft_gates:
                loss = loss + sum(gate_losses(torch.cat(outcome.soft_gates, dim=1), losses, step / steps).values())
            if not bool(torch.isfinite(loss)):
                raise UserError(f"the loss is {float(loss)} in epoch {epoch + 1}: try a smaller learning_rate")
            loss.backward()
            optimiser.step()
            step += 1
    return network


@torch.no_grad()
def _evaluated(
    network: PSPNet, samples: Iterable[tuple[Tensor, Tensor]], chosen: Settings
) -> tuple[Confusion, float, list[Tensor]]:
    """Scores, mean work of an image, and the first ``SHOWN`` predicted masks (H, W)."""
    network.eval()
    found = Confusion.empty(cityscapes.CLASSES)
    work, count, predicted = 0.0, 0, list[Tensor]()
    for image, mask in samples:
        outcome = network(cityscapes.normalized(image[None]).to(chosen.device))
        prediction = outcome.logits.argmax(1).cpu()
        found.add(prediction, mask[None])
        work += float(outcome.macs.sum())
        count += 1
        if len(predicted) < SHOWN:
            predicted.append(prediction[0])
    return found, work / count, predicted


def _page(samples: Sequence[tuple[Tensor, Tensor]], masks: dict[str, list[Tensor]]) -> Figure:
    """Some images, one line each: the image, its mask, and each network's prediction."""
    columns = 2 + len(masks)
    figure, axes = plt.subplots(
        len(samples), columns, figsize=(3 * columns, 2.2 * len(samples)), squeeze=False, layout="constrained"
    )
    for line, (image, mask) in enumerate(samples):
        pictures: list[tuple[str, Any]] = [("image", image.permute(1, 2, 0).numpy()), ("mask", _colored(mask))]
        pictures += [(f"gates: {name}", _colored(predicted[line])) for name, predicted in masks.items()]
        for panel, (title, picture) in zip(axes[line], pictures, strict=True):
            panel.imshow(picture)
            panel.set(xticks=[], yticks=[], title=title if line == 0 else "")
            panel.grid(visible=False)
    return figure


def _colored(mask: Tensor) -> Any:
    """Classes in colors, ignored pixels black: (H, W) -> (H, W, 3) uint8."""
    colors = np.zeros((IGNORE + 1, 3), dtype=np.uint8)
    for train_id, color in cityscapes.colors().items():
        colors[train_id] = color
    return colors[mask.numpy()]


STUDY = Study(
    "PSPNets with and without gates on Cityscapes: mIoU, pixel accuracy, share of the work",
    measure,
    Settings,
    samples=500,
)
