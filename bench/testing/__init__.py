"""The checks that every method, task and figure has to pass, whoever wrote it; `bench test` runs them.

    check_method    every check of a method, with its ``small`` settings or those given
    check_task      every check of a task
    check_figure    every check of a figure, on made-up records
    Result          what came of a check: passed, failed or skipped, and why

In tests of your own, with pytest or without:

    from bench.testing import check_method

    def test_it_keeps_the_contract():
        assert [result for result in check_method("mine") if result.status == "failed"] == []

``METHOD_CHECKS``, ``TASK_CHECKS`` and ``FIGURE_CHECKS`` list the checks; each has a name, says in a sentence what has
to hold, and can be called with a ``SmallMethod``, a ``RegisteredTask`` or a ``RegisteredFigure``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bench.testing import figures, layers, methods, tasks
from bench.testing.figures import RegisteredFigure, made_up_runs
from bench.testing.outcome import Check, CheckFailed, NotOffered, Result, Status, results
from bench.testing.small import CPU, SmallMethod, variants
from bench.testing.tasks import RegisteredTask

__all__ = [
    "FIGURE_CHECKS",
    "METHOD_CHECKS",
    "TASK_CHECKS",
    "Check",
    "CheckFailed",
    "NotOffered",
    "RegisteredFigure",
    "RegisteredTask",
    "Result",
    "SmallMethod",
    "Status",
    "check_figure",
    "check_method",
    "check_task",
    "made_up_runs",
    "variants",
]

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
