"""A benchmark and reproducibility harness for local learning.

    run, load     run a suite, or load a folder of runs: ``Runs`` with data frames and figures
    check         compare a suite's records with its measured references: ``Verdicts``
    UserError     error for invalid input: one sentence

Methods, tasks and figures of other packages import what they need from ``bench.plugins`` and test themselves with
``bench.testing``. All other modules may change.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api import Runs, check, load, run
    from bench.errors import UserError
    from bench.running.gate import Verdicts

__all__ = ["Runs", "UserError", "Verdicts", "__version__", "check", "load", "run"]
__version__ = version("local-learning-bench")

_HOMES = {"UserError": "bench.errors", "Verdicts": "bench.running.gate"}


def __getattr__(name: str) -> Any:
    """Import on first use: `bench --help` must not wait for PyTorch."""
    if name not in __all__:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "bench.api")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
