"""``bench compare``: from two folders or two revisions to a table with notes and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import DataDirOption, FormatOption, OutputFormat, ThreadsOption
from bench.errors import ExitStatus, UserError
from bench.options import names_in

if TYPE_CHECKING:
    from bench.compare.table import Comparison
    from bench.records import Found, Record

DEFAULT_OUT = Path("results/runs/compare")
DEFAULT_SUITE = "smoke"
DEFAULT_SEEDS = 3


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A folder of runs, or a git revision of this checkout.")],
    b: Annotated[
        str | None, typer.Argument(metavar="B", help="The same kind as A; differences are B minus A. Not with --by.")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHOICE",
            help="Within the folder A: pairs of cells that differ in this alone, such as asge.alpha, epochs, "
            "asge.pooling=rms (B is compared with that value), or asge.normalization+asge.affine; may be repeated.",
        ),
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="Revisions: a suite's name, or a TOML file; default: smoke.")
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Revisions: a subset of the suite's methods, separated by commas.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Revisions: number of seeds, from 0; default: 3.", show_default=False)
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Revisions: epochs for every method.")] = None,
    threads: ThreadsOption = None,
    data_dir: DataDirOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Revisions: folder for the records; default: a new one in results/runs/compare."),
    ] = None,
    form: FormatOption = OutputFormat.RICH,
) -> int:
    """Compare two folders of runs, or settings within one; or run and compare two revisions.

    The exit status is 1 if B is worse in a row; settings within a folder always end with 0.
    """
    from rich.console import Console

    from bench.compare import table as comparison
    from bench.compare.rendering import render
    from bench.running import revisions, worktrees

    given = {"--suite": suite, "--methods": methods, "--seeds": seeds, "--epochs": epochs, "--threads": threads,
             "--data-dir": data_dir, "--out": out}  # fmt: skip
    if by:
        if b is not None:
            raise UserError(f"--by takes one folder, and has no B: got {b!r}")
        _refuse(given, "--by compares within a folder of records")
        return _within(Path(a), by, form)
    if b is None:
        raise UserError("compare needs B too, or --by with a setting to compare within A")
    failed = False
    if Path(a).is_dir() and Path(b).is_dir():
        _refuse(given, f"{a!r} and {b!r} are folders of records")
        folders = Path(a), Path(b)
    else:
        root = worktrees.checkout()
        ends = [worktrees.short(root, worktrees.resolve(root, rev)) for rev in (a, b)]
        target = out or DEFAULT_OUT / "-".join([*ends, Path(suite or DEFAULT_SUITE).stem])
        if worktrees.uncommitted(root):
            _say("note: uncommitted changes are part of neither revision")
        calls = revisions.run_interleaved(
            root,
            a,
            b,
            suite=suite or DEFAULT_SUITE,
            methods=names_in(methods),
            seeds=DEFAULT_SEEDS if seeds is None else seeds,
            out=target,
            options=_options(epochs, threads, data_dir),
            say=_say,
        )
        failed = any(call.problem for call in calls)
        folders = target / revisions.A, target / revisions.B
        _say(f"records: {folders[0]} and {folders[1]}")
    runs_a, runs_b = (_read(folder) for folder in folders)
    table = comparison.comparisons(runs_a, runs_b, _read(revisions.second_run(folders[0])).records)
    if table:
        render(table, f"A: {_name(a, runs_a)}, B: {_name(b, runs_b)}", form.value, Console())
    return exit_status(table, failed=failed, what=f"{folders[0]} and {folders[1]}")


def _refuse(given: dict[str, Any], because: str) -> None:
    """Refuse options that are for running two revisions."""
    for option, value in given.items():
        if value is not None:
            raise UserError(f"{option} is for running two revisions; {because}")


def _within(folder: Path, by: Sequence[str], form: OutputFormat) -> int:
    """Compare settings within a folder."""
    from rich.console import Console

    from bench.compare.effects import Choice, effects
    from bench.compare.rendering import render

    if not folder.is_dir():
        raise UserError(f"folder {str(folder)!r} does not exist")
    table = effects(_read(folder), [Choice.parse(text) for text in by])
    render(table, f"Settings within {folder}: B instead of A, paired by seed", form.value, Console())
    return ExitStatus.OK


def _options(epochs: int | None, threads: int | None, data_dir: Path | None) -> list[str]:
    """Options of `bench run`, equal for both revisions."""
    options = [] if threads is None else ["--threads", str(threads)]
    options += [] if epochs is None else ["--epochs", str(epochs)]
    options += [] if data_dir is None else ["--data-dir", str(data_dir.resolve())]
    return options


def _read(folder: Path) -> Found:
    """The contents of a folder, empty if it does not exist: a revision may have failed before writing anything."""
    from bench import records

    if not folder.is_dir():
        return records.Found([])
    found = records.read_all(folder)
    for note in records.notes(found):
        _say(f"note: {note}")
    return found


def exit_status(table: Sequence[Comparison], *, failed: bool, what: str) -> int:
    """The exit status; prints why if nothing could be compared.

    Args:
        table: the rows.
        failed: whether something went wrong that may have left no row.
        what: location of the records, for the message.
    """
    if any(row.verdict == "worse" for row in table):
        return ExitStatus.REGRESSION
    if failed or any(row.failed_a or row.failed_b for row in table):
        return ExitStatus.CELL_FAILED
    if all(row.verdict in ("only in A", "only in B") for row in table):
        _say(f"error: nothing can be compared: {what} have no task, method and strategy in common")
        return ExitStatus.NOTHING_MEASURED
    for side in ("A", "B"):
        alone = [f"{row.label}/{row.strategy}" for row in table if row.verdict == f"only in {side}"]
        if alone:
            _say(f"note: only in {side}: {', '.join(alone)}")
    return ExitStatus.OK


def _name(given: str, runs: Found) -> str:
    """The user's name of a side, with the commits that made its records."""
    commits = sorted({_commit(record) for record in runs.records})
    return f"{given} ({', '.join(commits)})" if commits else given


def _commit(record: Record) -> str:
    if record.code.commit is None:
        return f"code {record.code.fingerprint}"
    return f"commit {record.code.commit[:9]}{' with changes' if record.code.dirty else ''}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
