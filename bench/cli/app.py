"""The command line. Every error that a user can cause ends here, as one sentence and an exit status."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench.cli.data import data_app
from bench.cli.options import AnyCodeOption, DataDirOption, FormatOption, OutputFormat, names_in
from bench.cli.reference import reference_app
from bench.cli.tune import tune_app
from bench.errors import ExitStatus, LoaderError, UserError
from bench.records import DEFAULT_RUNS

app = typer.Typer(
    name="bench",
    help="Train local-learning methods next to backprop, and check the results against stored references.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data")
app.add_typer(reference_app, name="reference")
app.add_typer(tune_app, name="tune")

OWN_ERROR = 70
"""Exit status for a bug in this program, as in sysexits.h."""

RunsArgument = Annotated[Path, typer.Argument(help="Folder of runs.", show_default=True)]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        help="CPU threads; they affect the last bits of results. Default: the suite's, else all available.",
        show_default=False,
    ),
]


@app.command("list")
def list_command(form: FormatOption = OutputFormat.RICH) -> None:
    """List methods with their settings, tasks, suites, studies, loaders and augmentations."""
    from bench import methods, studies, suites, tables
    from bench.data import loaders
    from bench.data.batches import augment
    from bench.data.sets import tasks
    from bench.methods import settings

    lines = []
    for name in methods.names():
        defaults = settings.complete(name, {})
        text = ", ".join(f"{key}={value}" for key, value in defaults.items())
        lines.append(["method", name, f"strategies {', '.join(methods.get(name).strategies)}; {text}"])
    for name in tasks.task_names():
        task = tasks.get_task(name)
        lines.append(["task", name, f"{'x'.join(map(str, task.shape))}, {task.classes} classes"])
    for name in suites.names():
        suite = suites.load(name)
        lines.append(["suite", name, suite.description])
    lines += [["study", name, studies.get(name).description] for name in studies.names()]
    lines += [["loader", name, ""] for name in loaders.KINDS]
    lines += [["augmentation", name, ""] for name in augment.AUGMENTATIONS]
    tables.render("What there is", ["kind", "name", "what"], lines, form.value, Console())


@app.command()
def run(
    name: Annotated[
        str | None, typer.Argument(metavar="[SUITE]", help="A suite's name, or a TOML file; default: quick.")
    ] = None,
    suite: Annotated[str | None, typer.Option(help="Same as the argument.")] = None,
    methods: Annotated[str | None, typer.Option(help="A subset of the suite's methods, separated by commas.")] = None,
    tasks: Annotated[str | None, typer.Option(help="Tasks instead of the suite's, separated by commas.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds.")] = None,
    first_seed: Annotated[int, typer.Option(help="First seed.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="Epochs for every method.")] = None,
    loader: Annotated[str | None, typer.Option(help="auto, ffcv, memory or torch.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    threads: ThreadsOption = None,
    data_dir: DataDirOption = None,
    out: Annotated[Path, typer.Option(help="Folder of runs.")] = DEFAULT_RUNS,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Print which cells are finished and which would run, without running any.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Run finished cells again.")] = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="Keep the trained weights of every cell in learned.pt; finished cells without it run again.",
        ),
    ] = False,
    stall: Annotated[float, typer.Option(min=1.0, help="Kill a cell after this many seconds without output.")] = 1800.0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="METHOD.KEY=VALUE", help="Change a setting; may be repeated.")
    ] = None,
    plots: Annotated[bool, typer.Option(help="Draw the figures afterwards.")] = True,
    unequal_budgets: Annotated[
        bool, typer.Option("--unequal-budgets", help="Compare methods whose tuning took unequal budgets.")
    ] = False,
    form: FormatOption = OutputFormat.RICH,
) -> int:
    """Run a suite and print its table. Finished cells are skipped; interrupted ones resume."""
    if name and suite and name != suite:
        raise UserError(f"two suites are named, {name!r} and --suite {suite!r}: name one")
    from bench.cli.run import run_suite
    from bench.methods.settings import parse_overrides
    from bench.suites import Overrides

    overrides = Overrides(
        methods=names_in(methods),
        tasks=names_in(tasks),
        seeds=seeds,
        first_seed=first_seed,
        epochs=epochs,
        loader=loader,
        settings=parse_overrides(set_ or []),
    )
    return run_suite(
        name or suite or "quick",
        overrides,
        device=device,
        threads=threads,
        data_dir=data_dir,
        out=out,
        force=force,
        keep=keep,
        stall=stall,
        plots=plots,
        form=form.value,
        unequal_budgets=unequal_budgets,
        dry=dry,
    )


@app.command()
def table(
    runs: RunsArgument = DEFAULT_RUNS,
    accuracies: Annotated[
        bool, typer.Option("--accuracies", help="Only accuracies, one line per setting, one column per strategy.")
    ] = False,
    form: FormatOption = OutputFormat.RICH,
) -> int:
    """Print the table of all records in a folder of runs."""
    from bench import records
    from bench.report import rows
    from bench.report import table as report

    found = records.read_all(runs)
    for note in records.notes(found):
        print(f"note: {note}", file=sys.stderr)
    lines = rows.make(found)
    if not lines:
        return _nothing(runs)
    (report.render_accuracies if accuracies else report.render_rows)(lines, form.value, Console())
    return ExitStatus.OK


@app.command()
def fill(
    pages: Annotated[list[Path], typer.Argument(help="Markdown files with markers, such as README.md.")],
) -> None:
    """Update the tables in Markdown pages, between <!-- table: FOLDER --> and <!-- end of table -->, from records."""
    from bench.report import pages as filling

    for page in pages:
        print(f"{page}: {filling.fill(page, Path())} tables")


@app.command()
def check(
    suite: Annotated[str, typer.Argument(help="A suite's name, or a TOML file.")],
    runs: Annotated[Path, typer.Option(help="Folder of runs.")] = DEFAULT_RUNS,
    junit: Annotated[Path | None, typer.Option(help="Also write the verdicts to this file, as JUnit XML.")] = None,
    confirm: Annotated[bool, typer.Option(help="Let fresh seeds confirm an accuracy that is too low.")] = True,
    any_code: AnyCodeOption = False,
    data_dir: DataDirOption = None,
    form: FormatOption = OutputFormat.RICH,
) -> int:
    """Compare a suite's records with its measured references; exit status 1 on a regression."""
    from bench.cli.check import check_suite

    return check_suite(
        suite,
        runs=runs,
        form=form.value,
        junit_file=junit,
        confirming=confirm,
        any_code=any_code,
        data_dir=data_dir,
    )


@app.command()
def golden(
    suite: Annotated[str, typer.Argument(help="A suite's name, or a TOML file.")],
    threads: ThreadsOption = None,
    data_dir: DataDirOption = None,
    form: FormatOption = OutputFormat.RICH,
) -> int:
    """Compare the first steps of a suite's methods with the stored ones: seconds; exit status 1 if they differ."""
    from bench.cli.check import check_opening

    return check_opening(suite, threads=threads, data_dir=data_dir, form=form.value)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A folder of runs, or a git revision of this checkout.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The same kind as A; differences are B minus A.")],
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
    """Compare two folders of runs, or run and compare two revisions; exit status 1 if B is worse in a row."""
    from bench.cli.compare import compare as compare_both

    return compare_both(
        a,
        b,
        suite=suite,
        methods=names_in(methods),
        seeds=seeds,
        epochs=epochs,
        threads=threads,
        data_dir=data_dir,
        out=out,
        form=form.value,
    )


@app.command()
def plot(
    runs: RunsArgument = DEFAULT_RUNS,
    out: Annotated[Path | None, typer.Option(help="Folder for the figures; default: RUNS/figures.")] = None,
) -> int:
    """Draw the figures of all records in a folder of runs."""
    from bench import records
    from bench.records import prepare_folder
    from bench.report import figures

    found = records.read_all(runs)
    for note in records.notes(found):
        print(f"note: {note}", file=sys.stderr)
    target = out or runs / "figures"
    prepare_folder(target)
    paths = figures.draw_all(found.records, target)
    if not paths:
        return _nothing(runs)
    for path in paths:
        print(path)
    return ExitStatus.OK


@app.command()
def study(
    name: Annotated[str, typer.Argument(help="A study's name; `bench list` shows them.")],
    task: Annotated[str | None, typer.Option(help="The task to study; default: the study's.")] = None,
    samples: Annotated[
        int | None, typer.Option(help="Number of its images; default: the study's.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed that draws the images.")] = 0,
    data_dir: DataDirOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for numbers and figures; default: results/studies/NAME.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the study; may be repeated.")
    ] = None,
    form: FormatOption = OutputFormat.RICH,
) -> None:
    """Run a study: a measurement other than a grid of training runs (loaders, robustness, ...)."""
    from bench import studies, tables
    from bench.methods.settings import parse_options

    target = out or Path("results/studies") / name
    options = parse_options(set_ or [])
    wanted = studies.get(name).samples if samples is None else samples
    record, figures = studies.run(name, studies.Request(task, wanted, seed, data_dir), target, options)
    tables.render(f"{name}, {record.task}", record.columns, record.rows, form.value, Console())
    for note in record.notes:
        print(f"note: {note}", file=sys.stderr)
    for path in figures:
        print(f"figure: {path}", file=sys.stderr)


@app.command()
def doctor(form: FormatOption = OutputFormat.RICH) -> None:
    """Show what is installed, what is missing, and how to get it."""
    from bench import tables
    from bench.cli.doctor import examine

    lines = [[finding.what, finding.state, finding.advice] for finding in examine()]
    tables.render("Doctor", ["what", "state", "advice"], lines, form.value, Console())


def _nothing(runs: Path) -> int:
    print(f"error: nothing was measured in {runs}", file=sys.stderr)
    return ExitStatus.NOTHING_MEASURED


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        status: Any = app(args=arguments, prog_name="bench", standalone_mode=False)
    except (UserError, LoaderError) as error:
        print(f"error: {error}", file=sys.stderr)
        return ExitStatus.BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted: finished work is kept", file=sys.stderr)
        return 130
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
