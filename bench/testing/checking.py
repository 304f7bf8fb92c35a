"""Runs all checks of a method, a task or a figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bench.testing import figures, layers, methods, tasks
from bench.testing.figures import RegisteredFigure
from bench.testing.outcome import Result, results
from bench.testing.small import CPU, SmallMethod, variants
from bench.testing.tasks import RegisteredTask

METHOD_CHECKS = (*methods.CHECKS, *layers.CHECKS)
TASK_CHECKS = tasks.CHECKS
FIGURE_CHECKS = figures.CHECKS


def check_method(
    name: str, settings: Mapping[str, Any] | None = None, device: torch.device | str = CPU
) -> list[Result]:
    """What comes of every check of a registered method.

    Args:
        name: as registered.
        settings: that make it small; if None, each of those in the method's ``small``, one after the other.
        device: where it trains.

    Raises:
        UserError: if there is no such method.
    """
    where = torch.device(device)
    subjects = variants(name, where) if settings is None else [SmallMethod(name, settings, where)]
    return [result for subject in subjects for result in results(METHOD_CHECKS, subject)]


def check_task(name: str, data_dir: Path | None = None) -> list[Result]:
    """What comes of every check of a registered task, whose files are in ``data_dir`` or where tasks find them.

    Raises:
        UserError: if there is no such task.
    """
    return results(TASK_CHECKS, RegisteredTask.named(name, data_dir))


def check_figure(name: str) -> list[Result]:
    """What comes of every check of a figure.

    Raises:
        UserError: if there is no such figure.
    """
    return results(FIGURE_CHECKS, RegisteredFigure.named(name))
