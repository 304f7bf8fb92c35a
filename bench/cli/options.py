"""Options that several commands have."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class OutputFormat(StrEnum):
    """How data is printed."""

    RICH = "rich"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"


FormatOption = Annotated[OutputFormat, typer.Option("--format", help="How to print.")]
DataDirOption = Annotated[
    Path | None,
    typer.Option(help="Folder with the data sets in torchvision's layout; default: $BENCH_DATA, else the cache."),
]
AnyCodeOption = Annotated[
    bool, typer.Option("--any-code", help="Also count records that other code than that which is here has made.")
]


def names_in(text: str | None) -> tuple[str, ...] | None:
    """Names from a text in which commas separate them."""
    if text is None:
        return None
    return tuple(part.strip() for part in text.split(",") if part.strip())
