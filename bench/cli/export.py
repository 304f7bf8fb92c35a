"""``bench export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import RunsArgument
from bench.options import DEFAULT_RUNS

export_app = typer.Typer(help="Write records for other programs.", no_args_is_help=True)


@export_app.command()
def parquet(
    runs: RunsArgument = DEFAULT_RUNS,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("rows.parquet"),
) -> None:
    """Write one row per strategy and seed as Parquet, for pandas, DuckDB, Spark."""
    from bench import records
    from bench.report import export, rows

    out.parent.mkdir(parents=True, exist_ok=True)
    table = rows.make(records.read_all(runs))
    with out.open("wb") as file:
        export.parquet(table, file)
    print(f"{out}: {len(table)} rows")


@export_app.command()
def tensorboard(
    runs: RunsArgument = DEFAULT_RUNS,
    out: Annotated[Path, typer.Option(help="For a folder per cell; `tensorboard --logdir` reads it.")] = Path(
        "tensorboard"
    ),
) -> None:
    """Write the curves of every cell as TensorBoard's scalars."""
    from bench import records
    from bench.report import export

    made = export.tensorboard(records.read_all(runs).records, out)
    print(f"{out}: {len(made)} cells")
