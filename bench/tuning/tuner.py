"""Tunes a method on a task: trials one after the other, each a cell in its own process, judged on validation data.

study  --ask-->  settings  -->  cell  --epochs-->  validation accuracy  --prune?-->  value  --tell-->  study
|
the most promising trials again with other seeds, then the best by their mean  <--------+
"""

from __future__ import annotations

import math
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from bench import records, seeds
from bench.errors import UserError
from bench.methods import settings
from bench.options import RunOptions
from bench.records import CellSpec, Record
from bench.records.claims import Holder
from bench.running import local, rehearsal, server
from bench.running.local import Outcome
from bench.suites import describe
from bench.tuning import space as spaces
from bench.tuning import study as studies
from bench.tuning.space import Space

SEEDS = "validation by seed"
"""Study attribute: validation accuracies by seed of each trial that was run again, by its number."""


@dataclass(frozen=True)
class Plan:
    """What to tune, under which budget.

    Attributes:
        method, task: keys.
        base: fixed settings other than the defaults.
        space: see ``bench.tuning.space``.
        trials, epochs: number of trials, and epochs of each.
        timeout: seconds after which no trial starts; None for no limit.
        objectives, sampler: see ``bench.tuning.study``.
        seed: of sampler and trials; the most promising trials are run again with the following seeds.
        promising, seeds: this many trials are run with this many seeds in total before one is called the best.
        train_samples, batch_size, augmentation, loader, threads: of every trial, as in a suite.
    """

    method: str
    task: str
    base: Mapping[str, Any]
    space: Space
    trials: int
    epochs: int
    timeout: float | None = None
    objectives: tuple[str, ...] = ("accuracy",)
    sampler: studies.SamplerName = "tpe"
    seed: int = 0
    promising: int = 3
    seeds: int = 3
    train_samples: int | None = None
    batch_size: int = 128
    augmentation: tuple[str, ...] = ()
    loader: str = "memory"
    threads: int = 1
    workers: int = 1

    def identity(self) -> dict[str, Any]:
        """What the trials of a study have in common, as JSON types."""
        return {
            "method": self.method,
            "task": self.task,
            "base": settings.complete(self.method, self.base),
            "space": {key: list(spaces.described(dimension)) for key, dimension in self.space.items()},
            "epochs": self.epochs,
            "objectives": list(self.objectives),
            "seed": self.seed,
            "train_samples": self.train_samples,
            "batch_size": self.batch_size,
            "augmentation": list(self.augmentation),
        }

    def first(self) -> dict[str, Any] | None:
        """Settings of the first trial: the untuned defaults, where they lie in the space.

        A study thus never ends below them. None for a grid, whose points are fixed.
        """
        if self.sampler == "grid":
            return None
        return spaces.within(self.space, settings.complete(self.method, self.base))

    def cell(self, drawn: Mapping[str, Any], seed: int) -> CellSpec:
        """The cell of a trial.

        Raises:
            UserError: for values that the settings reject.
        """
        cell = CellSpec(
            method=self.method,
            settings=settings.canonical(self.method, {**self.base, **drawn}),
            task=self.task,
            seed=seed,
            epochs=self.epochs,
            batch_size=self.batch_size,
            augmentation=self.augmentation,
            train_samples=self.train_samples,
            loader=self.loader,
            device="cpu",
            threads=self.threads,
        )
        return describe.described(cell)


class _Reporter:
    """Reports a running cell's validation accuracies to its trial, and stops it if the pruner says so."""

    def __init__(self, trial: optuna.Trial | None) -> None:
        self._trial = trial

    def cell_started(self, cell: CellSpec, index: int, total: int) -> None:
        """Nothing to do."""

    def cell_event(self, cell: CellSpec, event: dict[str, Any]) -> None:  # noqa: ARG002
        """Report an epoch; TrialPruned propagates through ``run_cells``, which kills the process."""
        if self._trial is not None and event["event"] == "epoch":
            self._trial.report(max(event["validation"].values()), event["epoch"])
            if self._trial.should_prune():
                raise optuna.TrialPruned

    def cell_finished(self, cell: CellSpec, outcome: Outcome) -> None:
        """Nothing to do."""

    def waiting(self, held: Mapping[str, Holder]) -> None:
        """Nothing to do."""


def run(
    plan: Plan,
    study: optuna.Study,
    lock: Path,
    out: Path,
    data_dir: Path | None,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
) -> None:
    """Run trials until the plan's number or time limit is reached, then the most promising ones again.

    Args:
        plan: what to do.
        study: of that plan.
        lock: see ``bench.tuning.study.ask``.
        out: folder of runs for the cells.
        data_dir: folder of the data; None for the usual places.
        say: called with a line for every trial.

    Raises:
        UserError: for invalid input, before any trial.
    """
    rehearsal.rehearse([plan.cell({}, plan.seed)], data_dir)
    if plan.sampler == "grid":  # no point twice
        plan = replace(plan, trials=min(plan.trials, math.prod(map(len, spaces.grid(plan.space).values()))))
    records.prepare_folder(out)
    start = time.monotonic()
    asking = threading.Lock()
    ended = threading.Event()

    def draw(number: int) -> optuna.samplers.BaseSampler:
        # A grid's seed orders its points, which the study identifies by their place.
        own = plan.seed if plan.sampler == "grid" else seeds.derive(plan.seed, "sampler", number) % 2**32
        return studies.sampler(plan.sampler, plan.space, own, together=plan.workers > 1)

    def too_late() -> bool:
        return plan.timeout is not None and time.monotonic() - start >= plan.timeout

    def work() -> None:
        while not too_late() and not ended.is_set():
            with asking:  # a trial draws by the sampler that the study has then
                trial = studies.ask(study, lock, plan.trials, draw)
                drawn = None if trial is None else spaces.suggest(trial, plan.space)
            if trial is None or drawn is None:
                return
            _run_trial(plan, study, trial, drawn, out, data_dir, say)

    _side_by_side(work, plan.workers, ended)
    if too_late() and studies.counted(study) < plan.trials:
        say(f"time limit reached after {studies.counted(study)} of {plan.trials} trials; the same command resumes")
    confirm(plan, study, out, data_dir, say)


def _side_by_side(work: Callable[[], None], count: int, ended: threading.Event) -> None:
    """Run some loops to their ends; at an error or Ctrl-C, the cells that run are killed."""
    if count == 1:
        work()
        return
    with ThreadPoolExecutor(count) as pool:
        running = [pool.submit(work) for _ in range(count)]
        try:
            for each in as_completed(running):
                each.result()
        except BaseException:
            ended.set()
            server.close_servers()
            raise


def _run_trial(
    plan: Plan,
    study: optuna.Study,
    trial: optuna.Trial,
    drawn: dict[str, Any],
    out: Path,
    data_dir: Path | None,
    say: Callable[[str], None],
) -> None:
    start = time.monotonic()
    text = ", ".join(f"{key}={short(value)}" for key, value in drawn.items())
    # Samplers learn from pruned trials that they were bad, but ignore failed ones and would draw similar ones again.
    # With several objectives trials cannot be pruned.
    state = TrialState.PRUNED if len(plan.objectives) == 1 else TrialState.FAIL
    values, reason = None, ""
    try:
        cell = plan.cell(drawn, plan.seed)
        trial.set_user_attr("cell", cell.id)
        trial.set_user_attr("settings", drawn)
        reporter = _Reporter(trial if len(plan.objectives) == 1 else None)
        outcome = _cell(cell, out, data_dir, reporter)
        if outcome.record is not None and outcome.record.status == "ok":
            state, values = TrialState.COMPLETE, [value_of(outcome.record, each) for each in plan.objectives]
        else:
            reason = outcome.problem or "failed"
    except optuna.TrialPruned:
        pass
    except UserError as error:
        reason = str(error)
    trial.set_user_attr("seconds", time.monotonic() - start)
    if reason:
        trial.set_user_attr("reason", reason)
    study.tell(trial, values, state=state)
    result = f"failed: {reason}" if reason else "pruned" if values is None else ", ".join(map(short, values))
    say(f"trial {trial.number}: {text}: {result}")


def _cell(cell: CellSpec, out: Path, data_dir: Path | None, watcher: _Reporter) -> Outcome:
    [outcome] = local.run_cells([cell], RunOptions("tune", out=out, data_dir=data_dir, rough=True), watcher=watcher)
    if outcome.bad_input:
        raise UserError(outcome.problem or "bad input")
    return outcome


def value_of(record: Record, objective: str) -> float:
    """An objective of a finished cell; accuracy is that of its best strategy on validation data, last epoch."""
    training = record.training
    assert training is not None  # noqa: S101 -- its status is ok
    if objective == "accuracy":
        return max(record.epochs[-1].validation.values())
    return training.seconds if objective == "time" else training.peak_live_bytes / 2**20


def confirm(plan: Plan, study: optuna.Study, out: Path, data_dir: Path | None, say: Callable[[str], None]) -> None:
    """Run the most promising trials with the seeds that they lack."""
    by_trial: dict[str, dict[str, float]] = dict(study.user_attrs.get(SEEDS, {}))
    for trial in promising(study, plan.promising):
        known = dict(by_trial.get(str(trial.number), {}))
        known.setdefault(str(plan.seed), trial.values[0])
        for seed in range(plan.seed, plan.seed + plan.seeds):
            if str(seed) not in known:
                outcome = _cell(plan.cell(trial.user_attrs["settings"], seed), out, data_dir, _Reporter(None))
                ok = outcome.record is not None and outcome.record.status == "ok"
                known[str(seed)] = value_of(outcome.record, "accuracy") if ok and outcome.record else 0.0
        by_trial[str(trial.number)] = known
        study.set_user_attr(SEEDS, by_trial)
        say(f"trial {trial.number} with {len(known)} seeds: {statistics.fmean(known.values()):.2f}")


def how_it_ended(trial: FrozenTrial) -> str:
    """How a trial ended: complete, pruned or failed. A failed one has a reason, whatever its state for the sampler."""
    if trial.state == TrialState.COMPLETE:
        return "complete"
    return "failed" if "reason" in trial.user_attrs else "pruned"


def promising(study: optuna.Study, count: int) -> list[FrozenTrial]:
    """The successful trials with the highest accuracies; with several objectives, those of the Pareto front."""
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    if len(study.directions) > 1:
        ended = list(study.best_trials)
    return sorted(ended, key=lambda trial: (-trial.values[0], trial.number))[:count]


def best(study: optuna.Study) -> FrozenTrial:
    """The trial with the highest mean accuracy over its seeds, among those run with the most seeds.

    Raises:
        UserError: if no trial succeeded.
    """
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    if not ended:
        raise UserError(f"study {study.study_name!r} has no successful trial")

    def rank(trial: FrozenTrial) -> tuple[int, float, int]:
        values = by_seed(study, trial)
        return len(values), statistics.fmean(values.values()), -trial.number

    return max(ended, key=rank)


def by_seed(study: optuna.Study, trial: FrozenTrial) -> dict[int, float]:
    """Validation accuracies of a successful trial, by seed."""
    known = study.user_attrs.get(SEEDS, {}).get(str(trial.number))
    return {int(seed): value for seed, value in known.items()} if known else {study.user_attrs["seed"]: trial.values[0]}


def short(value: Any) -> str:
    """Format a value for tables."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
