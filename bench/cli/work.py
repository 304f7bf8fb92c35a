"""``bench work``, ``bench status`` and ``bench submit``: many workers on one folder of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import DataDirOption, FormatOption, OutputFormat, help_of, run_options
from bench.errors import ExitStatus, UserError

if TYPE_CHECKING:
    from bench.running.local import Outcome

FolderArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of runs.", show_default=False)]


def work(
    runs: FolderArgument,
    workers: Annotated[int | None, typer.Option(help=help_of("workers"), min=1)] = None,
    devices: Annotated[str | None, typer.Option(help=help_of("devices"))] = None,
    data_dir: DataDirOption = None,
) -> int:
    """Run the cells of a folder that have no record yet, beside other workers; ends when all are recorded.

    At SIGTERM or SIGUSR1 it ends after the current epoch, with exit status 130: the same command goes on.
    """
    from bench.cluster import worker
    from bench.running import progress

    console = progress.console()
    outcomes = worker.work(runs, console, data_dir=data_dir, workers=workers, devices=devices)
    bad = [outcome for outcome in outcomes if outcome.record is None or outcome.record.status != "ok"]
    for outcome in bad:
        console.print(f"error: {outcome.cell.id}: {outcome.problem}", highlight=False, markup=False, soft_wrap=True)
    console.print(_summary(runs, outcomes), highlight=False, markup=False, soft_wrap=True)
    if any(outcome.bad_input for outcome in bad):
        return ExitStatus.BAD_INPUT
    return ExitStatus.CELL_FAILED if bad else ExitStatus.OK


def _summary(runs: Path, outcomes: Sequence[Outcome]) -> str:
    recorded = [outcome for outcome in outcomes if outcome.record is not None]
    here = sum(not outcome.reused for outcome in recorded)
    return f"{runs}: {len(recorded)} of {len(outcomes)} cells are recorded, {here} of them by this worker"


def status(runs: FolderArgument, form: FormatOption = OutputFormat.RICH) -> None:
    """Show how far the cells of a folder are, who runs them where, and the time that is left; from any machine."""
    import sys

    from rich.console import Console

    from bench import tables
    from bench.cluster import status as looking
    from bench.records import names

    found = looking.look(runs)
    titles = names.titles([each.cell for each in found.cells])
    lines: list[list[str | float | None]] = [
        [
            titles[each.cell.id],
            each.suite,
            each.state,
            each.where,
            None if each.seconds is None else round(each.seconds),
        ]
        for each in found.cells
    ]
    tables.render(str(runs), ["cell", "suite", "now", "where", "seconds"], lines, form.value, Console())
    counts = ", ".join(f"{count} {state}" for state, count in found.counts.items() if count)
    left = "" if found.remaining is None else f"; about {_duration(found.remaining)} left with these workers"
    print(f"{runs}: {counts}{left}", file=sys.stderr)


@run_options
def submit(
    name: Annotated[
        str | None, typer.Argument(metavar="[SUITE]", help="A suite's name, or a TOML file; default: quick.")
    ] = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Print the script, write and submit nothing.")] = False,
    partition: Annotated[str | None, typer.Option(help="As of sbatch.")] = None,
    time: Annotated[str | None, typer.Option(help="Time limit of a worker, as of sbatch.")] = None,
    gres: Annotated[str | None, typer.Option(help="What each worker gets, as of sbatch, such as gpu:1.")] = None,
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="A node for each worker alone: only then do speeds compare.")
    ] = False,
    lead: Annotated[
        int, typer.Option(help="Seconds before the time limit at which a worker is told to end.", min=1)
    ] = 120,
    setup: Annotated[
        list[str] | None, typer.Option(help="A line of the script before the worker starts; may be repeated.")
    ] = None,
    sbatch: Annotated[list[str] | None, typer.Option(help="A further option of sbatch; may be repeated.")] = None,
    **given: Any,
) -> int:
    """Submit a suite to SLURM: an array of workers that share its folder of runs, --workers of them."""
    import sys

    from bench.cli.run import options_of
    from bench.cluster import slurm
    from bench.running import suite

    options = options_of(name, given)
    if options.devices is not None:
        raise UserError("--devices is for one machine; with SLURM, --gres gpu:1 --device cuda gives each worker a GPU")
    ready = suite.prepare(options)
    job = slurm.Job(
        name=f"bench-{ready.suite.name}",
        runs=options.runs,
        workers=options.lanes,
        threads=max(cell.threads for cell in ready.cells),
        partition=partition,
        time=time,
        gres=gres,
        exclusive=exclusive,
        lead=lead,
        setup=setup or (),
        more=sbatch or (),
    )
    if dry:
        print(slurm.script(job), end="")
        return ExitStatus.OK
    suite.lay_out(options)
    number = slurm.submit(slurm.write(job))
    print(
        f"job {number}: {job.workers} workers for {len(ready.cells)} cells; see `bench status {options.runs}`",
        file=sys.stderr,
    )
    return ExitStatus.OK


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{max(1, minutes)} min"
