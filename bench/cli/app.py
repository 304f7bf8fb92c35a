"""The command line. Every error a user can make ends here, as one sentence and an exit status."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer

import bench
from bench.cli import check, compare, doctor, listing, plot, run, study, table, test
from bench.cli.data import data_app
from bench.cli.reference import reference_app
from bench.cli.tune import tune_app
from bench.errors import ExitStatus, LoaderError, UserError

app = typer.Typer(
    name="bench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
COMMANDS: dict[str, Callable[..., Any]] = {
    "list": listing.list_command,
    "run": run.run,
    "table": table.table,
    "fill": table.fill,
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
app.add_typer(reference_app, name="reference")
app.add_typer(tune_app, name="tune")

OWN_ERROR = 70
"""Exit status of an error of this program, as in sysexits.h."""


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
    """Run the command line and give its exit status."""
    os.environ.setdefault("MPLBACKEND", "Agg")  # figures go to files, also where there is a screen
    try:
        status: Any = app(args=arguments, prog_name="bench", standalone_mode=False)
    except (UserError, LoaderError) as error:
        print(f"error: {error}", file=sys.stderr)
        return ExitStatus.BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted: what was finished is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output (`| head`) has seen enough; a second failing flush at exit would be a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.OK
    except OSError as error:
        print(f"error: {error.filename or 'a file'} cannot be used: {error.strerror or error}", file=sys.stderr)
        return ExitStatus.BAD_INPUT
    except Exception as error:  # noqa: BLE001 -- the last resort
        # typer keeps its copy of click's exceptions private; what they have in common is this method.
        if not hasattr(error, "format_message"):
            # An error of this program: not 1, which would be a regression.
            traceback.print_exc()
            return OWN_ERROR
        if message := error.format_message():
            print(f"error: {message}", file=sys.stderr)
        return ExitStatus.BAD_INPUT
    return int(status or 0)
