"""Options shared by several commands."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class OutputFormat(StrEnum):
    """Output formats."""

    RICH = "rich"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"


FormatOption = Annotated[OutputFormat, typer.Option("--format", help="Output format.")]
DataDirOption = Annotated[
    Path | None,
    typer.Option(help="Folder with the data sets in torchvision's layout; default: $BENCH_DATA, else the cache."),
]
AnyCodeOption = Annotated[
    bool, typer.Option("--any-code", help="Also count records made by a different version of the code.")
]


def names_in(text: str | None) -> tuple[str, ...] | None:
    """Split a comma-separated text into names."""
    if text is None:
        return None
    return tuple(part.strip() for part in text.split(",") if part.strip())
