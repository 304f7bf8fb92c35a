"""``bench run``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import FormatOption, OutputFormat, run_options
from bench.errors import ExitStatus, UserError
from bench.options import RunOptions

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

    from bench import tables
    from bench.running.suite import SuiteRun


@run_options
def run(
    name: Annotated[
        str | None, typer.Argument(metavar="[SUITE]", help="A suite's name, or a TOML file; default: quick.")
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Print which cells are finished and which would run, without running any.")
    ] = False,
    plots: Annotated[bool, typer.Option(help="Draw the figures afterwards.")] = True,
    report: Annotated[bool, typer.Option(help="Write a page of the run for a browser, report-SUITE.html.")] = True,
    form: FormatOption = OutputFormat.RICH,
    **given: Any,
) -> int:
    """Run a suite and print its table. Finished cells are skipped; interrupted ones resume."""
    options = options_of(name, given)
    if dry:
        return _print_plan(options, form.value)
    from bench.running import progress, suite

    console = progress.console()
    return _report(suite.run(options, console), options, console, plots=plots, report=report, form=form.value)


def options_of(name: str | None, given: dict[str, Any]) -> RunOptions:
    """The options of a run, from what the command line has parsed.

    Raises:
        UserError: for two suites, or a setting that cannot be read.
    """
    suite = given.pop("suite")
    if name and suite and name != suite:
        raise UserError(f"two suites are named, {name!r} and --suite {suite!r}: name one")
    if given["settings"]:
        from bench.methods.settings import parse_overrides

        given["settings"] = parse_overrides(given["settings"])
    else:
        del given["settings"]
    return RunOptions(name or suite or RunOptions.suite, **given)


def _print_plan(options: RunOptions, form: tables.Format) -> int:
    """Print the cells and what would be done with each."""
    from rich.console import Console

    from bench import tables
    from bench.running import suite

    ready, planned = suite.plan(options)
    lines: list[list[str | float | None]] = [
        [ready.titles[cell.id], cell.epochs, cell.threads, does, cell.id] for cell, does in planned
    ]
    recorded = sum(does == "recorded" for _, does in planned)
    title = f"{ready.suite.name}: {recorded} of {len(planned)} cells are finished in {options.runs}"
    tables.render(title, ["cell", "epochs", "threads", "now", "folder"], lines, form, Console())
    return ExitStatus.OK


def _report(
    done: SuiteRun, options: RunOptions, console: Console, *, plots: bool, report: bool, form: tables.Format
) -> int:
    """Draw the figures, print notes, the table and every problem, write the page; return the exit status."""
    from rich.console import Console as Output

    from bench.measure.environment import stale
    from bench.reference.verdicts import RED, conclusion
    from bench.report import rows, table
    from bench.running import progress

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    files: dict[str, str] = {}
    if plots:
        from bench.report import figures
        from bench.report.page import drawings

        def keep(name: str, figure: Figure) -> None:
            files[name] = drawings.svg(name, figure)

        folder = options.runs / "figures" / done.suite.name
        try:
            for path in figures.draw_all(done.records, folder, also=keep if report else None):
                say(f"figure: {path}")
        except Exception as error:  # noqa: BLE001 -- a failing plot must not cost the table of hours of training
            say(f"note: the figures could not be drawn: {error}")
    for note in stale(done.records):
        say(f"note: {note}")
    table.render_rows(rows.make(done.found, done.checks), form, Output())
    for check in done.checks:
        if check.what != "accuracy" and check.verdict in RED:
            say(f"note: {check.method}: {check.verdict}: {check.note}")
    if report and done.records:
        try:
            say(f"report: {_write_page(done, options.runs, files)}")
        except Exception as error:  # noqa: BLE001 -- as above
            say(f"note: the report could not be written: {error}")
    say(f"{done.suite.name}: {conclusion(done.suite.name, done.checks)}")
    for outcome in done.bad:
        say(f"error: {progress.describe_outcome(done.titles[outcome.cell.id], outcome)}")
    if any(outcome.bad_input for outcome in done.bad):
        return ExitStatus.BAD_INPUT
    return ExitStatus.CELL_FAILED if done.bad else ExitStatus.OK


def _write_page(done: SuiteRun, runs: Path, files: Mapping[str, str]) -> Path:
    """Write the page of a run, with figures that were drawn before."""
    from bench.cli.report import known
    from bench.report import page

    source = page.Source(done.suite.name, done.found, done.checks, methods=known(done.records), drawn=files)
    return page.write([source], runs / f"report-{done.suite.name}.html")
