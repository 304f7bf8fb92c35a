"""The commands `bench reference ...`."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Annotated

import typer
from rich.console import Console

from bench.cli.options import AnyCodeOption, FormatOption, OutputFormat, RunsOption, SuiteArgument
from bench.errors import ExitStatus, UserError
from bench.options import DEFAULT_RUNS, names_in

reference_app = typer.Typer(
    help="Show, update or repeat the measured references of `bench check`.", no_args_is_help=True
)


@reference_app.command("show")
def reference_show(
    suite: Annotated[str, typer.Argument(help="A suite's name.")], form: FormatOption = OutputFormat.RICH
) -> int:
    """Print the measured references of a suite, value by value, and who made them."""
    from bench import tables
    from bench.reference import measured
    from bench.report import table as report

    stored = measured.load(suite)
    if stored is None:
        print(f"error: there are no measured references for suite {suite!r}", file=sys.stderr)
        return ExitStatus.NOTHING_MEASURED
    lines = [
        [
            row.task,
            row.method,
            row.strategy,
            report.accuracy_text([value.accuracy for value in row.values]),
            " ".join(f"{value.accuracy:.2f}" for value in row.values),
        ]
        for row in stored.rows
    ]
    title = f"measured references of {suite}"
    columns = ["task", "method", "strategy", "mean", "values by seed"]
    tables.render(title, columns, lines, form.value, Console())
    for change in stored.history:
        print(f"{change.when} {change.who}: {change.reason}", file=sys.stderr)
    return ExitStatus.OK


@reference_app.command("update")
def reference_update(
    suite: SuiteArgument,
    reason: Annotated[str, typer.Option(help="Reason for the update, for the file's history.")],
    runs: RunsOption = DEFAULT_RUNS,
    methods: Annotated[str | None, typer.Option(help="Only these methods, separated by commas.")] = None,
    any_code: AnyCodeOption = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep-values",
            "--keep",
            help="Keep all values, for new settings that give bit-exact golden numbers.",
        ),
    ] = False,
) -> None:
    """Update a suite's measured references from its finished records, and print old and new means."""
    from bench import records, suites
    from bench.reference import keep as keeping
    from bench.reference import measured, update

    loaded = suites.load(suite)
    if suite != loaded.name and loaded.name in suites.names():
        own = "has the name of a suite that comes with bench; rename it"
        raise UserError(f"suite file {suite!r} {own}")
    change_references = keeping.keep if keep else update.update
    chosen = suites.expected(loaded, names_in(methods))
    untouched = sorted(set(loaded.methods) - {cell.method for cell, _ in chosen})
    found = records.read_all(runs).records
    change = change_references(loaded.name, chosen, found, reason, any_code=any_code, untouched=untouched)
    for row in change.rows:
        was = "none" if row.old is None else f"{row.old:.2f} (n = {row.old_seeds})"
        print(f"{row.row}: {was} -> {row.new:.2f} (n = {row.new_seeds})")
    print(measured.path_of(loaded.name))


@reference_app.command("repeat")
def reference_repeat(
    suite: SuiteArgument,
    reason: Annotated[str, typer.Option(help="Which other rounding, for the file's history.")],
    runs: RunsOption = DEFAULT_RUNS,
    any_code: AnyCodeOption = False,
) -> None:
    """Add stored seeds, run again with other threads or on another machine, to a suite's measured references."""
    from bench import records, suites
    from bench.reference import measured, repeat

    loaded = suites.load(suite)
    found = records.read_all(runs).records
    repeat.repeat(loaded.name, suites.expected(loaded), found, reason, any_code=any_code)
    stored = measured.load(loaded.name)
    repeated = Counter(part.method for part in stored.repeats) if stored else Counter[str]()
    for method, seeds in sorted(repeated.items()):
        print(f"{method}: {seeds} repeated seeds")
    print(measured.path_of(loaded.name))
