"""The command line. Every error that a user can cause ends here, as one sentence and an exit status."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer

import bench
from bench.cli import (
    check,
    compare,
    doctor,
    leaderboard,
    listing,
    plot,
    published,
    refresh,
    report,
    run,
    simulate,
    study,
    table,
    test,
    work,
)
from bench.cli.data import data_app
from bench.cli.export import export_app
from bench.cli.reference import reference_app
from bench.cli.tune import tune_app
from bench.errors import ExitStatus, LoaderError, Stopped, UserError

app = typer.Typer(
    name="bench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
COMMANDS: dict[str, Callable[..., Any]] = {
    "list": listing.list_command,
    "published": published.published,
    "run": run.run,
    "work": work.work,
    "status": work.status,
    "submit": work.submit,
    "simulate": simulate.simulate,
    "table": table.table,
    "report": report.report,
    "leaderboard": leaderboard.leaderboard,
    "refresh": refresh.refresh,
    "fill": table.fill,
    "describe": table.describe,
    "check": check.check,
    "golden": check.golden,
    "compare": compare.compare,
    "plot": plot.plot,
    "study": study.study,
    "test": test.run_checks,
    "doctor": doctor.doctor,
}
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
app.add_typer(data_app, name="data")
app.add_typer(export_app, name="export")
app.add_typer(reference_app, name="reference")
app.add_typer(tune_app, name="tune")

OWN_ERROR = 70
"""Exit status for a bug in this program, as in sysexits.h."""


def _print_version(value: bool) -> None:
    if value:
        print(f"bench {bench.__version__}")
        raise typer.Exit


@app.callback()
def callback(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train local-learning methods next to backprop, and check the results against stored references."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    os.environ.setdefault("MPLBACKEND", "Agg")  # figures go to files, even if there is a display
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # A name of a file that is not UTF-8, or a terminal that has no "±": shown as \x.., as on standard error.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status: Any = app(args=arguments, prog_name="bench", standalone_mode=False)
    except (UserError, LoaderError) as error:
        print(f"error: {error}", file=sys.stderr)
        return ExitStatus.BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted: finished work is kept", file=sys.stderr)
        return ExitStatus.STOPPED
    except Stopped:
        print("stopped after the current epoch: the same command goes on", file=sys.stderr)
        return ExitStatus.STOPPED
    except BrokenPipeError:
        # The reader of the output (`| head`) is gone; a second failing flush at exit would print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.OK
    except OSError as error:
        print(f"error: {error.filename or 'a file'} cannot be used: {error.strerror or error}", file=sys.stderr)
        return ExitStatus.BAD_INPUT
    except Exception as error:  # noqa: BLE001 -- the last resort
        # typer keeps its copy of click's exceptions private; they all have this method.
        if not hasattr(error, "format_message"):
            # A bug in this program: not 1, which would mean a regression.
            traceback.print_exc()
            return OWN_ERROR
        if message := error.format_message():
            print(f"error: {message}", file=sys.stderr)
        return ExitStatus.BAD_INPUT
    return int(status or 0)
