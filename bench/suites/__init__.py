"""Suites: named sets of cells as TOML files, and their expansion."""

from bench.suites.expand import Overrides, cells, check_budgets, expected, with_starts, with_strategies
from bench.suites.file import Suite, load, names

__all__ = [
    "Overrides",
    "Suite",
    "cells",
    "check_budgets",
    "expected",
    "load",
    "names",
    "with_starts",
    "with_strategies",
]
