"""``bench check`` and ``bench golden``: a suite against its measured references."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import (
    AnyCodeOption,
    DataDirOption,
    FormatOption,
    OutputFormat,
    RunsOption,
    SuiteArgument,
    ThreadsOption,
)
from bench.errors import ExitStatus
from bench.options import DEFAULT_RUNS

if TYPE_CHECKING:
    from bench import tables
    from bench.running.gate import Verdicts


def check(
    suite: SuiteArgument,
    runs: RunsOption = DEFAULT_RUNS,
    junit: Annotated[Path | None, typer.Option(help="Also write the verdicts to this file, as JUnit XML.")] = None,
    confirm: Annotated[
        bool, typer.Option(help="Let the reference's seeds, run again, decide on a low accuracy.")
    ] = True,
    any_code: AnyCodeOption = False,
    data_dir: DataDirOption = None,
    form: FormatOption = OutputFormat.RICH,
) -> int:
    """Compare a suite's records with its measured references; exit status 1 on a regression."""
    from bench import api
    from bench.reference import junit as file

    found = api.check(suite, runs=runs, confirm=confirm, any_code=any_code, data_dir=data_dir)
    status = _print(found, form.value)
    if junit is not None:
        file.write(junit, found.suite, found.checks)
    return status


def golden(
    suite: SuiteArgument,
    threads: ThreadsOption = None,
    data_dir: DataDirOption = None,
    form: FormatOption = OutputFormat.RICH,
) -> int:
    """Compare the first steps of a suite's methods with the stored ones: seconds; exit status 1 if they differ."""
    from bench.running import gate

    return _print(gate.check_opening(suite, threads=threads, data_dir=data_dir), form.value)


def _print(found: Verdicts, form: tables.Format) -> int:
    """Print verdicts and notes; print why, if the exit status says that nothing was measured."""
    from rich.console import Console

    from bench.report import checks

    checks.render(found.checks, form, Console())
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    missing = found.missing
    if found.status == ExitStatus.NOTHING_MEASURED and missing is not None:
        print(f"error: {missing.task} {missing.method} {missing.what}: {missing.note}", file=sys.stderr)
    return found.status
