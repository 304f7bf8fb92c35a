"""Optuna's studies: storage, samplers and pruners, identity, and trials whose worker died.

Trials have a state of Optuna's and, among their attributes, ``worker`` (host and process), ``reason`` (why it failed)
and ``retried`` (another trial replaces it). Creating a study or asking for a trial takes a lock, so that several
processes on one machine find a complete study and never run more trials than requested. Every trial has its own
sampler, seeded with its number: a study that is interrupted, or run by several processes, draws nothing twice.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import optuna
from filelock import FileLock
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.pool import NullPool

from bench.errors import UserError, unknown
from bench.inputs import cache_root
from bench.tuning import space as spaces
from bench.tuning.space import Space

SamplerName = Literal["tpe", "random", "cmaes", "grid"]
PrunerName = Literal["median", "hyperband", "halving", "none"]
OBJECTIVES = {"accuracy": "maximize", "time": "minimize", "memory": "minimize"}
"""Possible objectives: validation accuracy in per cent, seconds of training, peak live MiB of a step."""
DEFAULT_FILE = Path("results/tuning/studies.journal")
FORMER_FILE = Path("results/studies/studies.journal")
"""Former location of studies; used while the current one does not exist."""
DIED = "its worker died"


def storage(where: str | None) -> tuple[BaseStorage, Path]:
    """Open a journal file, or any URL that Optuna supports; returns also the lock file for creating and asking.

    Raises:
        UserError: if it cannot be opened.
    """
    if where is not None and "://" in where:
        lock = cache_root() / "studies.lock"
        try:
            with warnings.catch_warnings(), _locked(lock):  # it may have to create the tables first
                warnings.simplefilter("ignore")  # Optuna calls its heartbeat experimental
                opened = RDBStorage(_with_driver(where), engine_kwargs=_engine(where))
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UserError(f"storage {_without_password(where)!r} does not answer: {reason}") from error
        return opened, lock
    former = FORMER_FILE.is_file() and not DEFAULT_FILE.is_file()
    file = Path(where) if where is not None else FORMER_FILE if former else DEFAULT_FILE
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(file))), file.with_suffix(".lock")
    except OSError as error:
        raise UserError(f"storage {str(file)!r} cannot be written: {error.strerror or error}") from error
    except (ValueError, KeyError) as error:
        raise UserError(f"storage {str(file)!r} is not a journal of studies: {error}") from error


def _with_driver(url: str) -> str:
    """Add this project's PostgreSQL driver to a URL, whatever SQLAlchemy's default is."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1) if url.startswith("postgresql://") else url


def _engine(url: str) -> dict[str, Any]:
    """Connection options: a timeout of five seconds, and no connection is kept open.

    A trial may take hours, and servers close idle connections.
    """
    timeout = {"connect_args": {"connect_timeout": 5}} if url.startswith("postgresql") else {}
    return timeout if url.startswith("sqlite") else {**timeout, "poolclass": NullPool}


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.rpartition(':')[0]}:***@{tail}" if at and ":" in head.partition("://")[2] else url


def objectives(text: str) -> tuple[str, ...]:
    """Parse ``"accuracy,time"`` into ("accuracy", "time").

    Raises:
        UserError: for an unknown or repeated one, or unless accuracy comes first.
    """
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in OBJECTIVES:
            raise unknown("objective", name, OBJECTIVES)
    if names[0] != "accuracy" or len(set(names)) < len(names):
        raise UserError(f"--objective {text!r} is not valid: accuracy must come first, each only once")
    return names


def sampler(name: SamplerName, space: Space, seed: int, *, together: bool = False) -> BaseSampler:
    """A seeded sampler.

    Args:
        name: of its kind.
        space: to draw from.
        seed: of its draws.
        together: whether trials run at the same time: those that run then count as bad ones (the constant liar), so
            that the next ones are drawn elsewhere.

    Raises:
        UserError: for an unknown name.
    """
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, multivariate=False, constant_liar=together)
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "grid":
        return _Grid(spaces.grid(space), seed=seed)
    if name == "cmaes":
        return optuna.samplers.CmaEsSampler(seed=seed)
    raise unknown("sampler", name, get_args(SamplerName))


class _Grid(optuna.samplers.GridSampler):
    """Optuna's grid sampler without its stop at the end of the grid: the caller knows the number of trials."""

    def after_trial(self, *_: Any) -> None:
        """Optuna's would stop a loop that does not exist here."""


def pruner(name: PrunerName, epochs: int) -> optuna.pruners.BasePruner:
    """The pruner of trials, by their validation accuracy after each epoch.

    Raises:
        UserError: for an unknown name.
    """
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, epochs // 4))
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3)
    if name == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    if name == "none":
        return optuna.pruners.NopPruner()
    raise unknown("pruner", name, get_args(PrunerName))


def opened(
    name: str,
    kept: BaseStorage,
    lock: Path,
    what: Mapping[str, Any],
    ended_by: optuna.pruners.BasePruner,
    first: Mapping[str, Any] | None = None,
) -> optuna.Study:
    """Open the study called ``name``, or create it.

    Args:
        name: of the study.
        kept: its storage.
        lock: taken while a new study is written, so that another process finds all of it or nothing.
        what: what its trials have in common, as JSON types: method, task, epochs, space, ...
        ended_by: pruner of this process's trials.
        first: settings of a new study's first trial; None to draw them.

    Raises:
        UserError: if the existing study differs; names the first difference.
    """
    directions = [StudyDirection[OBJECTIVES[each].upper()] for each in what["objectives"]]
    with _locked(lock):
        found = optuna.create_study(
            study_name=name, storage=kept, pruner=ended_by, directions=directions, load_if_exists=True
        )
        if not found.get_trials(deepcopy=False):  # new, or its creator was killed
            for key in what.keys() - found.user_attrs.keys():
                found.set_user_attr(key, what[key])
            if first is not None:
                found.enqueue_trial(dict(first))
    known = found.user_attrs
    for key, value in what.items():
        if known.get(key) != value:
            raise UserError(
                f"study {name!r} has {key} {known.get(key)!r}, not {value!r}: choose another name with --study"
            )
    return found


def _locked(lock: Path) -> FileLock:
    lock.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(lock)


def loaded(name: str, kept: BaseStorage) -> optuna.Study:
    """Load an existing study.

    Raises:
        UserError: if it does not exist; names those that do.
    """
    names = sorted(each.study_name for each in optuna.get_all_study_summaries(kept))
    if name not in names:
        raise unknown("study", name, names)
    return optuna.load_study(study_name=name, storage=kept)


def ask(study: optuna.Study, lock: Path, trials: int, draw: Callable[[int], BaseSampler]) -> optuna.Trial | None:
    """The next trial, or None if as many as requested have ended or are running.

    Trials whose worker died are first marked as failed; the next trials take their values.

    Args:
        study: to ask.
        lock: taken while asking.
        trials: requested number.
        draw: makes the sampler of a trial, given its number.
    """
    with _locked(lock):
        for dead in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not _is_alive(dead):
                attributes = study._storage.set_trial_user_attr  # noqa: SLF001 - a trial of another process
                attributes(dead._trial_id, "reason", DIED)  # noqa: SLF001
                attributes(dead._trial_id, "retried", True)  # noqa: SLF001
                study.tell(dead.number, state=TrialState.FAIL)
                study.enqueue_trial(dead.params, user_attrs={"retry_of": dead.number})
        if counted(study) >= trials:
            return None
        study.sampler = draw(len(study.get_trials(deepcopy=False)))
        trial = study.ask()
        trial.set_user_attr("worker", f"{socket.gethostname()} {os.getpid()} {_start_time(os.getpid())}")
        return trial


def counted(study: optuna.Study) -> int:
    """Number of trials that count against the budget: ended or running, except those replaced by another."""
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)
    found = study.get_trials(deepcopy=False, states=states)
    return sum(not trial.user_attrs.get("retried", False) for trial in found)


def _is_alive(trial: FrozenTrial) -> bool:
    """Whether the process that runs a trial still exists; assumed so on another machine."""
    worker = trial.user_attrs.get("worker")
    if worker is None:
        return False
    host, process, started = str(worker).split()
    return host != socket.gethostname() or _start_time(int(process)) == started


def _start_time(process: int) -> str:
    """Start time of a process, in the system's ticks; empty if it does not exist."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
