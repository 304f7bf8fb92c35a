"""Lists in docstrings, a name, a gap and what it is, keep their lines on the site."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Columns(griffe.Extension):
    """Indents such lines of modules' docstrings, which makes them a block of text."""

    def on_module(self, *, mod: griffe.Module, **_: Any) -> None:
        """As griffe calls it, for every module."""
        if mod.docstring:
            mod.docstring.value = re.sub(r"^(?=\w+ {2,}\S)", "    ", mod.docstring.value, flags=re.MULTILINE)
