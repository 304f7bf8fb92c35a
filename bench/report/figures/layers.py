"""Figures of layers: their values from epoch to epoch, and after the last epoch."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
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


def by_epoch(runs: Runs, _colors: dict[str, Any]) -> Figure | None:
    """Accuracy, goodness, time and live memory of each layer from epoch to epoch; mean over seeds."""
    shown = [(name, record) for name, record in runs if any(_quantities(epoch) for epoch in record.epochs)]
    frame = pd.DataFrame(
        [
            {"method": name, "epoch": epoch.epoch, "layer": str(layer), "quantity": quantity, "value": value}
            for name, record in shown
            for epoch in record.epochs
            for quantity, values in _quantities(epoch).items()
            for layer, value in enumerate(values, start=1)
        ]
    )
    if frame.empty:
        return None
    grid = sns.relplot(
        frame,
        x="epoch",
        y="value",
        hue="layer",
        row="quantity",
        col="method",
        kind="line",
        marker="o",
        errorbar=None,
        palette="viridis",
        height=2.2,
        aspect=1.4,
        facet_kws={"sharey": "row", "sharex": True},
    )
    grid.set_titles("")
    for axes, method in zip(grid.axes[0], grid.col_names, strict=True):
        axes.set_title(textwrap.fill(method, TITLE_WIDTH), fontsize=9)
    for axes, quantity in zip(grid.axes[:, 0], grid.row_names, strict=True):
        axes.set_ylabel(quantity)
    for axes in grid.axes.flat:
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    lines = max(axes.get_title().count("\n") for axes in grid.axes[0]) + 1
    grid.figure.suptitle(title(shown, "Layer by layer"), y=1 + 0.15 * lines / grid.figure.get_figheight(), va="bottom")
    figure: Figure = grid.figure
    if "ms per step" in grid.row_names:
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
