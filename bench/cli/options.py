"""Options shared by several commands, and options made from the fields of ``bench.options.RunOptions``."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from bench.options import Help, RunOptions


class OutputFormat(StrEnum):
    """Output formats."""

    RICH = "rich"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"


class TableFormat(StrEnum):
    """Output formats of tables of records."""

    RICH = "rich"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"
    LATEX = "latex"


FormatOption = Annotated[OutputFormat, typer.Option("--format", help="Output format.")]
RunsArgument = Annotated[Path, typer.Argument(help="Folder of runs.", show_default=True)]
RunsOption = Annotated[Path, typer.Option(help="Folder of runs.")]
SuiteArgument = Annotated[str, typer.Argument(help="A suite's name, or a TOML file.")]
AnyCodeOption = Annotated[
    bool, typer.Option("--any-code", help="Also count records made by a different version of the code.")
]


def help_of(name: str) -> str:
    """The help of a field of ``RunOptions``."""
    _, told = get_args(get_type_hints(RunOptions, include_extras=True)[name])
    return str(told.text)


DataDirOption = Annotated[Path | None, typer.Option(help=help_of("data_dir"))]
ThreadsOption = Annotated[int | None, typer.Option(help=help_of("threads"), show_default=False)]


def run_options(command: Callable[..., int]) -> Callable[..., int]:
    """Decorate a command: one option per field of ``RunOptions``, received as keywords (``**given``)."""
    own = [part for part in inspect.signature(command).parameters.values() if part.kind is not part.VAR_KEYWORD]
    own_hints = get_type_hints(command, include_extras=True)
    hints = get_type_hints(RunOptions, include_extras=True)
    made = [_parameter(field, hints[field.name]) for field in dataclasses.fields(RunOptions)]
    mine = [part.replace(annotation=own_hints[part.name], kind=inspect.Parameter.KEYWORD_ONLY) for part in own]
    first = [part for part in mine if part.name == "name"]
    signature = inspect.Signature([*first, *made, *(part for part in mine if part not in first)])
    command.__signature__ = signature  # type: ignore[attr-defined]
    return command


def _parameter(field: dataclasses.Field[Any], hint: Any) -> inspect.Parameter:
    """The command line's parameter for a field."""
    kind, told = get_args(hint)
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, annotation=_option(field.name, kind, told), default=_default(field)
    )


def _option(name: str, kind: Any, told: Help) -> Any:
    flag = [f"--{name.replace('_', '-')}"] if kind is bool else []
    declared = [told.option] if told.option else flag
    return Annotated[_typed(kind), typer.Option(*declared, help=told.text, metavar=told.metavar, min=told.least)]


def _typed(kind: Any) -> Any:
    """The type that typer parses for a field: paths, numbers and flags as they are, all others as text."""
    if get_origin(kind) is Mapping:  # given item by item
        return list[str] | None
    parts = get_args(kind) or (kind,)
    if Path in parts:
        return Path | None if type(None) in parts else Path
    simple = next(part for part in parts if part in (bool, int, float, str))
    return simple | None if type(None) in parts else simple


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.name == "suite" or field.default is dataclasses.MISSING:
        return None
    return field.default
