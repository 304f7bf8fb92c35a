"""``bench simulate``."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli.options import FormatOption, OutputFormat, RunsOption, SuiteArgument
from bench.errors import UserError
from bench.options import DEFAULT_RUNS, Overrides


def simulate(
    suite: SuiteArgument = "quick",
    workers: Annotated[str, typer.Option(help="Numbers of workers, separated by commas.")] = "1,2,4,8",
    fail_rate: Annotated[
        float, typer.Option(help="Probability that a run of a cell fails, from 0 to 0.9.", min=0.0, max=0.9)
    ] = 0.0,
    pause: Annotated[float, typer.Option(help="Seconds until a failed worker works again.", min=0.0)] = 60.0,
    runs: RunsOption = DEFAULT_RUNS,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds; default: the suite's.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the failures.")] = 0,
    form: FormatOption = OutputFormat.RICH,
) -> None:
    """Say how long a suite would take with so many workers, from the times of the records in a folder."""
    from rich.console import Console

    from bench import records, suites, tables
    from bench.cluster import simulation
    from bench.cluster.durations import Durations

    cells = suites.cells(suites.load(suite), Overrides(seeds=seeds))
    known = Durations(records.read_all(runs).records)
    seconds = known.of_all(cells)
    if seconds is None:
        raise UserError(f"no record in {str(runs)!r} says how long it took; `bench run {suite}` makes some")
    jobs = [simulation.Job(each, cell.epochs) for each, cell in zip(seconds, cells, strict=True)]
    lines: list[list[str | float | None]] = []
    for count in _counts(workers):
        found = simulation.forecast(jobs, count, fail_rate=fail_rate, pause=pause, seed=seed)
        minutes = [round(value / 60, 2) for value in (found.makespan, found.spread, found.bound)]
        lines.append([count, *minutes, round(100 * found.efficiency, 1), round(found.lost / 60, 2)])
    header = ["workers", "minutes", "±", "at least", "efficiency %", "lost minutes"]
    title = f"{suite}: {len(cells)} cells, {sum(seconds) / 60:.1f} minutes of work, {100 * fail_rate:g} % of runs fail"
    tables.render(title, header, lines, form.value, Console())


def _counts(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"--workers {text!r} must be numbers from 1, separated by commas")
    return [int(part) for part in parts]
