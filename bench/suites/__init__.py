"""Suites: named sets of cells as TOML files, and their expansion."""

from bench.options import Overrides
from bench.suites.expand import cells, check_budgets, expected, own_seeds, with_starts, with_strategies
from bench.suites.file import Suite, load, names

__all__ = [
    "Overrides",
    "Suite",
    "cells",
    "check_budgets",
    "expected",
    "load",
    "names",
    "own_seeds",
    "with_starts",
    "with_strategies",
]
