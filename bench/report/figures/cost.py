"""Figures of cost: speed and memory."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from bench.report.figures.drawing import Runs, title, warn_of_machines


def throughput_and_memory(runs: Runs, colors: dict[str, Any]) -> Figure | None:
    """Training throughput, prediction throughput and peak memory, per method."""
    cells = pd.DataFrame(
        [
            {
                "method": name,
                "end to end": training.images_per_second,
                "compute only": training.images_per_second_compute,
                "resident (RSS)": None if training.peak_rss_bytes is None else training.peak_rss_bytes / 2**20,
                "live tensors": training.peak_live_bytes / 2**20,
            }
            for name, record in runs
            if (training := record.training) is not None
        ]
    )
    predictions = pd.DataFrame(
        [
            {"method": name, "strategy": part.strategy, "value": part.images_per_second}
            for name, record in runs
            for part in record.strategies
        ]
    )
    predictions["prediction"] = predictions["method"] + " / " + predictions["strategy"]
    longest = max(predictions["prediction"].str.len())
    size = (11 + 0.22 * longest, max(4.8, 1.8 + 0.3 * predictions["prediction"].nunique()))
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=size, layout="constrained")
    speed = cells.melt(id_vars="method", value_vars=["end to end", "compute only"], var_name="clock")
    sns.barplot(speed, y="method", x="value", hue="clock", errorbar=None, palette="muted", ax=left)
    left.set(ylabel="", xlabel="images per second", title="Training throughput")
    memory = cells.melt(id_vars="method", value_vars=["resident (RSS)", "live tensors"], var_name="figure")
    sns.barplot(memory, y="method", x="value", hue="figure", errorbar=None, palette="muted", ax=middle)
    middle.set(ylabel="", yticklabels=[], xlabel="MiB", title="Peak memory of training")
    sns.barplot(
        predictions, y="prediction", x="value", hue="method", errorbar=None, palette=colors, legend=False, ax=right
    )
    right.set(ylabel="", xlabel="images per second", title="Prediction throughput")
    for axes in (left, middle):
        sns.move_legend(axes, "upper center", bbox_to_anchor=(0.5, -0.14), ncol=2, title=None, frameon=False)
    for axes in (left, middle, right):
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
        axes.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    figure.suptitle(title(runs, "Throughput and memory"))
    warn_of_machines(figure, runs)
    return figure
