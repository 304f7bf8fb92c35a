"""Accuracy and work of gated networks on adversarial images (FGSM, Goodfellow et al., ICLR 2015).

    x' = clip(x + epsilon sign(dL/dx)),   L the cross-entropy of the network itself in evaluation

Epsilon is in units of a pixel's whole range. ConvNet-AIG's authors found gated networks harder to mislead. The gradient
passes through what is computed, not through the gates' decisions. All networks are trained here, on the same images
with the same seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Annotated, Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge
from matplotlib.figure import Figure
from torch import Tensor, nn

from bench import seeds
from bench.data import loaders
from bench.data.sets import splits, tasks
from bench.data.sets.arrays import pixels
from bench.errors import UserError
from bench.running import parts
from bench.statistics import half_width
from bench.studies.study import Findings, Request, Study

EPSILONS = (0.0, 1 / 255, 2 / 255, 4 / 255, 8 / 255)
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "no gates": ("bas", {"gating": "none"}),
    "gates on blocks": ("conv-aig", {"target": 0.6}),
    "gates on channels": ("bas", {"l0_weight": 1.0}),
}

COLUMNS = ("network", "epsilon * 255", "accuracy %", "± accuracy", "MMAC per image")


@dataclass(frozen=True)
class Settings:
    """Settings of the study.

    Attributes:
        epochs: of training.
        train_samples: number of training images.
        batch_size: in training.
        architecture: of all networks, see ``baselines.conditional.resnet``.
        seeds: trainings of each network, counted from the seed that draws the images.
    """

    epochs: Annotated[int, Ge(1)] = 10
    train_samples: Annotated[int, Ge(1)] = 10000
    batch_size: Annotated[int, Ge(2)] = 128
    architecture: str = "cifar-8"
    seeds: Annotated[int, Ge(1)] = 3


def attacked(logits: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """Move images by at most epsilon per value so that the loss rises (FGSM).

    Args:
        logits: from images (B, C, H, W) to (B, N), differentiable.
        images: with values from 0 to 1.
        labels: (B,) int64.
        epsilon: 0 leaves them unchanged.

    Returns:
        (B, C, H, W), from 0 to 1.
    """
    moved = images.clone().requires_grad_()
    (by_image,) = torch.autograd.grad(F.cross_entropy(logits(moved), labels), moved)
    return (images + epsilon * by_image.sign()).clamp(0, 1)


def measure(request: Request) -> Findings:
    """Measure accuracy and executed work by network and epsilon."""
    chosen: Settings = request.settings
    task = tasks.get_task(request.task or "cifar10")
    data = splits.split(task, task.read(request.data_dir), train_limit=chosen.train_samples)
    if request.samples > len(data.test):
        raise UserError(f"--samples {request.samples} is more than the {len(data.test)} test images there are")
    order = torch.randperm(len(data.test), generator=seeds.generator(request.seed, "robustness"))[: request.samples]
    images, labels = pixels(data.test.images[order], task.shape).float() / 255, data.test.labels[order]
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (task.mean, task.std))
    points: list[dict[str, Any]] = []
    for title, (method, settings) in NETWORKS.items():
        for seed in range(request.seed, request.seed + chosen.seeds):
            learner = _trained(task, data, method, {**settings, "architecture": chosen.architecture}, chosen, seed)
            network = learner.network.eval()
            for epsilon in EPSILONS:
                moved = attacked(partial(_logits, network, mean, std), images, labels, epsilon)
                with torch.no_grad():
                    outcome = network((moved - mean) / std)
                accuracy = 100 * float((outcome.logits.argmax(1) == labels).double().mean())
                work = float(outcome.macs.mean()) / 1e6
                points.append(
                    {"network": title, "epsilon * 255": 255 * epsilon, "accuracy (%)": accuracy, "MMAC": work}
                )
    frame = pd.DataFrame(points)
    rows: list[list[str | int | float]] = []
    for _, group in frame.groupby(["network", "epsilon * 255"], sort=False):
        name, epsilon = group["network"].iloc[0], group["epsilon * 255"].iloc[0]
        accuracies = group["accuracy (%)"].tolist()
        width = half_width(accuracies)
        shown = "-" if width is None else round(width, 2)
        rows.append([name, round(epsilon, 2), round(fmean(accuracies), 2), shown, round(fmean(group["MMAC"]), 3)])
    trained = f"{chosen.architecture} trained on {chosen.train_samples} images for {chosen.epochs} epochs"
    notes = [
        f"{request.samples} test images of {task.title}; {trained}; {chosen.seeds} seeds from {request.seed} on",
        "± is half the 95 % interval of the mean over seeds",
        "FGSM with each network's own gradient; gates are deterministic, and none passes through their decisions",
    ]
    figures = {"robustness": partial(_chart, frame, task.title)}
    return Findings(task.name, COLUMNS, rows, notes, figures)


def _logits(network: nn.Module, mean: Tensor, std: Tensor, images: Tensor) -> Tensor:
    logits: Tensor = network((images - mean) / std).logits
    return logits


def _trained(
    task: tasks.Task, data: splits.Splits, method: str, settings: dict[str, Any], chosen: Settings, seed: int
) -> Any:
    device = torch.device("cpu")
    loader = loaders.make_loader(
        "memory",
        task,
        data.train,
        batch_size=chosen.batch_size,
        seed=seed,
        shuffle=True,
        augmentation=(),
        device=device,
    )
    options = {"schedule": "one-cycle", **settings}
    budget = parts.Budget(chosen.epochs, len(loader))
    learner = parts.build(method, options, task, budget, device, seeds.generator(seed, "learner"))
    for epoch in range(chosen.epochs):
        learner.begin_epoch(epoch)
        for images, labels in loader.epoch(epoch):
            learner.train_step(images, labels)
    return learner


def _chart(frame: pd.DataFrame, title: str) -> Figure:
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for panel, value in zip(axes, ("accuracy (%)", "MMAC"), strict=True):
        sns.lineplot(frame, x="epsilon * 255", y=value, hue="network", marker="o", palette="colorblind", ax=panel)
        panel.set(title=title)
        panel.set_ylim(bottom=0)
    axes[1].get_legend().remove()
    return figure


STUDY = Study("Are gated networks harder to mislead? FGSM on networks with and without gates", measure, Settings)
