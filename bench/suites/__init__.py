"""Suites: named sets of cells, as TOML files, and their expansion."""

from bench.suites.expand import Overrides, cells, check_budgets, with_starts
from bench.suites.file import Suite, load, names

__all__ = ["Overrides", "Suite", "cells", "check_budgets", "load", "names", "with_starts"]
