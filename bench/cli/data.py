"""The commands `bench data ...`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from bench.cli.options import DataDirOption, FormatOption, OutputFormat
from bench.errors import ExitStatus

data_app = typer.Typer(help="List, download, pack and verify data sets.", no_args_is_help=True)


@data_app.command("list")
def data_list(data_dir: DataDirOption = None, form: FormatOption = OutputFormat.RICH) -> None:
    """List all tasks and the location of their files."""
    from bench import tables
    from bench.data.sets import sources, tasks

    lines = []
    for name in tasks.task_names():
        task = tasks.get_task(name)
        folder = sources.find(task, data_dir)
        where = "bundled" if sources.is_bundled(task) else str(folder) if folder else "not downloaded"
        lines.append([name, "x".join(map(str, task.shape)), str(task.classes), where])
    tables.render("Tasks", ["task", "shape", "classes", "files"], lines, form.value, Console())


@data_app.command("get")
def data_get(task: Annotated[str, typer.Argument(help="A task's name.")], data_dir: DataDirOption = None) -> None:
    """Download the missing or damaged files of a task."""
    from bench.data.sets import sources, tasks

    print(f"{task}: {sources.fetch(tasks.get_task(task), data_dir)}")


@data_app.command("pack")
def data_pack(
    task: Annotated[str, typer.Argument(help="A task's name.")],
    images: Annotated[
        str | None,
        typer.Option(
            help='Store image files as "jpeg" or "raw"; default: jpeg, their original bytes.', show_default=False
        ),
    ] = None,
    share: Annotated[
        float | None, typer.Option(help="Share of the images stored as JPEG, from 0 to 1; the others are raw.")
    ] = None,
    quality: Annotated[int | None, typer.Option(help="Re-encode every JPEG with this quality.")] = None,
    side: Annotated[int | None, typer.Option(help="Shrink images whose longer side exceeds this.")] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write a task's FFCV files before a run; in a suite, write the packing as "jpeg,share=0.5,side=400"."""
    from bench.data import pack
    from bench.data.ffcv.packing import Packing
    from bench.data.sets import tasks
    from bench.running import progress

    given = {"share": share, "quality": quality, "side": side}
    options = [f"{name}={value}" for name, value in given.items() if value is not None]
    packing = Packing.parse(",".join([images or "jpeg", *options])) if images or options else None
    found = tasks.get_task(task)
    with progress.counting(Console(stderr=True)) as report:
        paths = pack.pack(found, data_dir, packing, report)
    for path in paths:
        print(path)


@data_app.command("verify")
def data_verify(
    task: Annotated[str, typer.Argument(help="A task's name.")],
    data_dir: DataDirOption = None,
    form: FormatOption = OutputFormat.RICH,
) -> int:
    """Check a task's files, including packed ones; exit status 2 if one is missing, damaged or stale."""
    from bench import tables
    from bench.data import pack
    from bench.data.sets import sources, tasks

    statuses = sources.verify(tasks.get_task(task), data_dir)
    if all(status.status == "ok" for status in statuses):
        statuses = [*statuses, *pack.verify(tasks.get_task(task), data_dir)]
    lines = [[status.path, status.status, status.detail] for status in statuses]
    tables.render(f"Files of {task}", ["file", "status", "detail"], lines, form.value, Console())
    bad = [status for status in statuses if status.status != "ok"]
    if bad:
        print(f"error: {bad[0].path} is {bad[0].status} ({bad[0].detail})", file=sys.stderr)
    return ExitStatus.BAD_INPUT if bad else ExitStatus.OK
