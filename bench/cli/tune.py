"""``bench tune``."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from bench.cli.options import DataDirOption, FormatOption, OutputFormat
from bench.errors import ExitStatus, UserError
from bench.options import names_in

if TYPE_CHECKING:
    import optuna

    from bench import tables


class DefaultGroup(TyperGroup):
    """A command group with the default command `run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert `run` unless the first argument is a command."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


tune_app = typer.Typer(
    cls=DefaultGroup,
    help="Tune a method on a task, on validation data (`bench tune METHOD TASK`), or export the best settings.",
    no_args_is_help=True,
)


@tune_app.command("run", hidden=True)
def tune(
    method: Annotated[str, typer.Argument(help="A method's key.")],
    task: Annotated[str | None, typer.Argument(help="A task's key.")] = None,
    trials: Annotated[int | None, typer.Option(help="Number of trials; default: 20.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs per trial; default: 10.")] = None,
    study: Annotated[str | None, typer.Option(help="Name; default: METHOD-TASK. An existing study resumes.")] = None,
    storage: Annotated[
        str | None, typer.Option(help="A journal file, or a URL that Optuna knows, such as postgresql://...")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of sampler and trials; default: 0.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Start no trial after this many seconds.")] = None,
    sampler: Annotated[str | None, typer.Option(help="tpe, random, cmaes or grid; default: tpe.")] = None,
    pruner: Annotated[str | None, typer.Option(help="median, hyperband, halving or none; default: median.")] = None,
    objective: Annotated[
        str | None, typer.Option(help="accuracy (validation), or a Pareto front with time or memory: accuracy,time.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="cpu: a useful result in half an hour on two cores.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Total seeds of each most promising trial; default: 3.")] = None,
    promising: Annotated[int | None, typer.Option(help="Number of most promising trials; default: 3.")] = None,
    train_samples: Annotated[int | None, typer.Option(help="Training images; default: all.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Default: 128.")] = None,
    augmentation: Annotated[str | None, typer.Option(help="Names, separated by commas; default: none.")] = None,
    loader: Annotated[str | None, typer.Option(help="As for `bench run`; default: memory.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of a trial; default: 1.")] = None,
    workers: Annotated[int | None, typer.Option(help="Trials at a time; default: 1.")] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(metavar="METHOD.KEY=LOW..HIGH", help="Or LOW..HIGH:log, LOW..HIGH:STEP, A|B|C; may be repeated."),
    ] = None,
    space_file: Annotated[Path | None, typer.Option(help="The same as TOML, one table per method.")] = None,
    show_space: Annotated[bool, typer.Option("--show-space", help="Print the search space and exit.")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="METHOD.KEY=VALUE", help="Fix a setting; may be repeated.")
    ] = None,
    data_dir: DataDirOption = None,
    out: Annotated[Path, typer.Option(help="Folder for the trials' runs and the figures.")] = Path("results/tuning"),
    plots: Annotated[bool, typer.Option(help="Draw the figures afterwards.")] = True,
    form: FormatOption = OutputFormat.RICH,
) -> int:
    """Tune a method on a task, on validation data: bench tune METHOD TASK; bench tune export STUDY."""
    from bench.methods.settings import check_key, parse_overrides
    from bench.tuning import figures, tuner
    from bench.tuning import tune as tuning

    if show_space:
        _print_space(method, space or [], space_file, form.value)
        return ExitStatus.OK
    if task is None:
        raise UserError("bench tune needs a method and a task, such as: bench tune asge fashion-mnist --preset cpu")
    base = parse_overrides(set_ or [])
    for owner in base:
        if owner != method:
            raise UserError(f"--set names method {owner!r}, but {method!r} is tuned")
    for key in base.get(method, {}):
        check_key(method, key)
    given: dict[str, Any] = {
        "trials": trials, "epochs": epochs, "seed": seed, "timeout": timeout, "sampler": sampler, "pruner": pruner,
        "objective": objective, "seeds": seeds, "promising": promising, "train_samples": train_samples,
        "batch_size": batch_size, "augmentation": names_in(augmentation), "loader": loader, "threads": threads,
        "workers": workers,
    }  # fmt: skip
    found = tuning.tune(
        method,
        task,
        given=given,
        preset=preset,
        name=study,
        storage=storage,
        base=base.get(method, {}),
        space=space or [],
        space_file=space_file,
        data_dir=data_dir,
        out=out,
        ended=_print,
    )
    if plots:
        for path in figures.draw(found, out / found.study_name / "figures"):
            print(f"figure: {path}", file=sys.stderr)
    return ExitStatus.OK if tuner.promising(found, 1) else ExitStatus.NOTHING_MEASURED


@tune_app.command("export")
def tune_export(
    studies: Annotated[list[str], typer.Argument(help="Names of studies, each of a different method.")],
    to: Annotated[Path, typer.Option(help="The suite file to write.")] = Path("tuned.toml"),
    storage: Annotated[str | None, typer.Option(help="Where the studies are stored.")] = None,
) -> None:
    """Write the best settings of one or several studies as a suite that `bench run` runs."""
    from bench.tuning import export
    from bench.tuning import study as kept

    if to.suffix != ".toml":
        raise UserError(f"--to {str(to)!r} is not the name of a TOML file")
    place, _ = kept.storage(storage)
    export.write(export.suite([kept.loaded(name, place) for name in studies]), to)
    print(to)


def _print_space(method: str, space: Sequence[str], space_file: Path | None, form: tables.Format) -> None:
    """Print the search space of a method."""
    from rich.console import Console

    from bench import tables
    from bench.tuning import space as spaces

    found = spaces.narrowed(method, space, space_file)
    lines = [[key, *spaces.described(dimension)] for key, dimension in found.items()]
    tables.render(f"search space of {method}", ["setting", "values", "when"], lines, form, Console())


def _print(study: optuna.Study) -> None:
    """Print the best trials, those run with several seeds by their mean, and how the others ended."""
    from rich.console import Console

    from bench import tables
    from bench.tuning import tuner

    lines = []
    for trial in tuner.promising(study, 10):
        values = tuner.by_seed(study, trial)
        drawn = ", ".join(f"{key}={tuner.short(value)}" for key, value in trial.user_attrs["settings"].items())
        others = [f"{value:.2f}" for value in trial.values[1:]]
        lines.append([str(trial.number), f"{statistics.fmean(values.values()):.2f}", str(len(values)), *others, drawn])
    header = ["trial", "validation %", "seeds", *study.user_attrs["objectives"][1:], "settings"]
    tables.render(f"study {study.study_name}", header, lines, "rich", Console())
    ended = [tuner.how_it_ended(trial) for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    for how in ("complete", "pruned", "failed"):
        print(f"{ended.count(how)} {how}", file=sys.stderr)
