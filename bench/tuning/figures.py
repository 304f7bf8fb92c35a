"""Figures of a study, by Optuna's own functions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from matplotlib.figure import Figure
from optuna.trial import TrialState
from optuna.visualization import matplotlib as plots

from bench.report.figures import save

FEWEST = 2
"""Minimum number of trials for a figure."""


def draw(study: optuna.Study, out: Path) -> list[Path]:
    """History, importances and parallel coordinates of a study, or its Pareto front, as PNG files in ``out``."""
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    if len(ended) < FEWEST:
        return []
    names: list[str] = study.user_attrs.get("objectives", ["accuracy"])
    figures: dict[str, Callable[[], Any]] = {}
    if len(names) == 1:
        figures["history"] = lambda: plots.plot_optimization_history(study, target_name="validation accuracy (%)")
        if len({key for trial in ended for key in trial.params}) > 1:
            figures["importances"] = lambda: plots.plot_param_importances(study, target_name="validation accuracy")
            figures["parallel-coordinates"] = lambda: plots.plot_parallel_coordinate(study, target_name="accuracy (%)")
    elif len(names) <= 3:
        figures["pareto-front"] = lambda: plots.plot_pareto_front(study, target_names=names)
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, make in figures.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls its matplotlib figures experimental
            axes = make()
        figure: Figure = axes.get_figure() if hasattr(axes, "get_figure") else axes[0].get_figure()
        figure.set_size_inches(max(9, 1.4 * len(figure.axes)), 5)  # a pair of axes per setting in parallel coordinates
        paths.append(save(figure, out / f"{study.study_name}-{name}.png"))
    return paths
