"""``bench test``: methods, tasks and figures against their contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import DataDirOption, FormatOption, OutputFormat
from bench.errors import ExitStatus, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.testing import Result

HEADER = ("kind", "name", "check", "status", "reason")


def run_checks(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="Methods, tasks and figures, or installed packages, of which all that they register are tested.",
            show_default=False,
        ),
    ],
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting that makes a method small, instead of those in its `small`; may be repeated.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Device of methods: cpu, cuda or cuda:N.")] = "cpu",
    data_dir: DataDirOption = None,
    form: FormatOption = OutputFormat.RICH,
) -> int:
    """Test methods, tasks and figures, your own too, against their contract; exit status 3 if a check fails."""
    from rich.console import Console

    from bench import tables
    from bench.inputs import device_name
    from bench.methods import settings
    from bench.testing import packages

    device_name(device)
    found = packages.find(names)
    values = settings.parse_options(options) if options else None
    methods = [name for kind, name in found if kind == "method"]
    if values is not None:
        if not methods:
            raise UserError(f"--set is for methods, and none is among {', '.join(names)}")
        for name in methods:
            settings.make(name, values)
    lines = []
    passed = True
    for kind, name in found:
        results = packages.check(kind, name, settings=values, device=device, data_dir=data_dir)
        lines += [[kind, name, *line] for line in _lines(results)]
        passed = passed and all(result.status != "failed" for result in results)
    tables.render("Tests", HEADER, lines, form.value, Console())
    return ExitStatus.OK if passed else ExitStatus.CHECK_FAILED


def _lines(results: Sequence[Result]) -> list[list[str]]:
    """Check, status and reason; one line for all settings that have them in common."""
    variants = list(dict.fromkeys(result.variant for result in results))
    lines = []
    for check in dict.fromkeys(result.check for result in results):
        outcomes: dict[tuple[str, str], list[str]] = {}
        for result in results:
            if result.check == check:
                outcomes.setdefault((result.status, result.reason), []).append(result.variant)
        for (status, reason), of in outcomes.items():
            where = "" if len(of) == len(variants) else f"with {' and with '.join(f'({v})' for v in of)}"
            lines.append([check, status, ": ".join(part for part in (where, reason) if part)])
    return lines
