"""A figure of your own: the training loss of every run, epoch by epoch."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from bench.plugins import FigureRuns


def loss_by_epoch(runs: FigureRuns, colors: dict[str, Any]) -> Figure | None:
    """Draw the sum of each run's training losses after every epoch; nothing if no run is longer than one epoch."""
    long = [(name, record) for name, record in runs if len(record.epochs) > 1]
    if not long:
        return None
    figure, axes = plt.subplots()
    labelled = set()
    for name, record in long:  # one of each seed
        label = None if name in labelled else name
        labelled.add(name)
        losses = [sum(epoch.losses.values()) for epoch in record.epochs]
        axes.plot([epoch.epoch for epoch in record.epochs], losses, color=colors[name], label=label)
    axes.set(title=f"Training loss: {long[0][1].cell.task}", xlabel="epoch", ylabel="sum of the losses")
    axes.legend()
    return figure
