"""Suites: named sets of cells, as TOML files, and their expansion."""

from bench.suites.expand import Overrides, cells
from bench.suites.file import Suite, load, names

__all__ = ["Overrides", "Suite", "cells", "load", "names"]
