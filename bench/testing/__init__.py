"""Checks that every method, task and figure must pass, also those of other packages; `bench test` runs them.

    check_method    every check of a method, with its ``small`` settings or those given
    check_task      every check of a task
    check_figure    every check of a figure, on made-up records
    Result          the result of a check: passed, failed or skipped, and why

In tests of your own, with pytest or without:

    from bench.testing import check_method

    def test_it_keeps_the_contract():
        assert [result for result in check_method("mine") if result.status == "failed"] == []

``METHOD_CHECKS``, ``TASK_CHECKS`` and ``FIGURE_CHECKS`` list the checks; each has a name and a
sentence that must hold, and can be called with a ``SmallMethod``, a ``RegisteredTask`` or a ``RegisteredFigure``.

What a method says in words (``published``, ``between``, ``optimiser``, ``family``) is asked before a cell runs and
written into its record: tables and figures are made from that, also where the method is not installed. A check writes
and reads it.
"""

from bench.testing.checking import (
    FIGURE_CHECKS,
    METHOD_CHECKS,
    TASK_CHECKS,
    check_figure,
    check_method,
    check_task,
)
from bench.testing.figures import RegisteredFigure, made_up_runs
from bench.testing.outcome import Check, CheckFailed, NotOffered, Result, Status
from bench.testing.small import SmallMethod, variants
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
