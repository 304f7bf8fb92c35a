"""``bench report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folders: Annotated[list[Path] | None, typer.Argument(help="Folders of runs.", metavar="FOLDER...")] = None,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("report.html"),
) -> None:
    """Write one HTML file that shows runs in any browser, without a network."""
    from bench.options import DEFAULT_RUNS
    from bench.report import page

    print(page.write(folders or [DEFAULT_RUNS], out))
