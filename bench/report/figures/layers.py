"""Figures of layers: their values from epoch to epoch, and after the last epoch."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from bench.records import EpochRecord
from bench.report.figures.drawing import Runs, title, warn_of_machines

TITLE_WIDTH = 26
"""Characters per line of a panel's title."""
PANEL = (3.1, 2.2)
"""Inches of a panel."""


def by_epoch(runs: Runs, _colors: dict[str, Any]) -> Figure | None:
    """Accuracy, goodness, time and live memory of each layer from epoch to epoch; mean over seeds."""
    shown = [(name, record) for name, record in runs if any(_quantities(epoch) for epoch in record.epochs)]
    lines: dict[tuple[str, str, int], dict[int, list[float]]] = {}
    for name, record in shown:
        for epoch in record.epochs:
            for quantity, of_layers in _quantities(epoch).items():
                for layer, value in enumerate(of_layers, start=1):
                    lines.setdefault((quantity, name, layer), {}).setdefault(epoch.epoch, []).append(value)
    if not lines:
        return None
    quantities = list(dict.fromkeys(quantity for quantity, _, _ in lines))
    methods = list(dict.fromkeys(method for _, method, _ in lines))
    layers = sorted({layer for *_, layer in lines})
    size = (PANEL[0] * len(methods), PANEL[1] * len(quantities))
    figure, grid = plt.subplots(
        len(quantities), len(methods), figsize=size, sharex=True, sharey="row", squeeze=False, layout="constrained"
    )
    colors = dict(zip(layers, sns.color_palette("viridis", len(layers)), strict=True))
    for (quantity, method, layer), epochs in lines.items():
        axes = grid[quantities.index(quantity), methods.index(method)]
        means = [fmean(values) for values in epochs.values()]
        axes.plot(list(epochs), means, marker="o", markeredgecolor="white", color=colors[layer])
    for axes, method in zip(grid[0], methods, strict=True):
        axes.set_title(textwrap.fill(method, TITLE_WIDTH), fontsize=9)
    for axes, quantity in zip(grid[:, 0], quantities, strict=True):
        axes.set_ylabel(quantity)
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    sns.despine(figure)
    handles = [mpl.lines.Line2D([], [], marker="o", color=color, markeredgecolor="white") for color in colors.values()]
    figure.legend(handles, [str(layer) for layer in layers], title="layer", loc="outside right center", frameon=False)
    figure.suptitle(title(shown, "Layer by layer"))
    if "ms per step" in quantities:
        warn_of_machines(figure, shown)
    return figure


def _quantities(epoch: EpochRecord) -> dict[str, Sequence[float]]:
    known: dict[str, Sequence[float] | None] = {
        "validation\naccuracy (%)": epoch.layers,
        "mean goodness": epoch.layer_goodness,
        "ms per step": [1e3 * value for value in epoch.layer_seconds or ()],
        "live MiB": [value / 2**20 for value in epoch.layer_live_bytes or ()],
    }
    known |= {f"mean {name}": means for name, means in epoch.layer_means.items()}
    return {quantity: values for quantity, values in known.items() if values}


def values(runs: Runs, _colors: dict[str, Any]) -> Figure | None:
    """Layer values after the last epoch, by depth: density, mean and deviation, all seeds together."""
    frame = pd.DataFrame(
        [
            {"method": name, "quantity": quantity, "layer": layer, "value": value}
            for name, record in runs
            for quantity, of_layers in record.layer_values.items()
            for layer, values in enumerate(of_layers, start=1)
            for value in values
        ]
    )
    if frame.empty:
        return None
    panels = frame[["quantity", "method"]].drop_duplicates().to_numpy().tolist()
    columns = min(3, len(panels))
    figure, grid = plt.subplots(
        math.ceil(len(panels) / columns), columns, figsize=(5 * columns, 3.2 * math.ceil(len(panels) / columns)),
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for axes, (quantity, method) in zip(grid.flat, panels, strict=False):
        shown = frame[(frame["quantity"] == quantity) & (frame["method"] == method)]
        sns.violinplot(
            shown, x="layer", y="value", inner=None, color="lightsteelblue", linewidth=0, density_norm="width", ax=axes
        )
        sns.pointplot(
            shown, x="layer", y="value", errorbar="sd", linestyle="none", color="black", markersize=4, ax=axes
        )
        axes.axhline(0, color="grey", linewidth=1)
        axes.set(ylabel=f"{quantity}: density, mean, deviation", xlabel="layer")
        axes.set_title("\n".join(textwrap.wrap(method, 46)), fontsize=10)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    figure.suptitle(title(runs, "Values by depth"))
    return figure
