"""A study of Optuna's: where it is kept, how it draws, what it is of, and the trials that died with their worker.

Trials have a state of Optuna's and, among their attributes, ``worker`` (host and process), ``reason`` (why one failed)
and ``retried`` (that another takes its place). Whoever makes a study or asks for a trial holds a lock, so that several
processes on one machine find a whole study and never run more trials than were asked for. Every trial has a sampler of
its own, seeded with its number: a study that was stopped, or is run by several processes, draws nothing twice.
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
"""What can be asked for: validation accuracy in per cent, seconds of training, peak live MiB of a step."""
DEFAULT_FILE = Path("results/tuning/studies.journal")
FORMER_FILE = Path("results/studies/studies.journal")
"""Where studies were kept at first; used for as long as there is no newer one."""
DIED = "its worker died"


def storage(where: str | None) -> tuple[BaseStorage, Path]:
    """A journal file, or whatever Optuna has a URL for; and a lock file for those who make a study or ask for trials.

    Raises:
        UserError: if it cannot be opened.
    """
    if where is not None and "://" in where:
        lock = cache_root() / "studies.lock"
        try:
            with warnings.catch_warnings(), _held(lock):  # it may have to make the tables first
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
    """PostgreSQL's driver is the one that this project names, whatever SQLAlchemy's own choice is."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1) if url.startswith("postgresql://") else url


def _engine(url: str) -> dict[str, Any]:
    """How to connect: a server is given five seconds, and no connection is kept.

    A trial may take hours, and servers end connections that do nothing.
    """
    timeout = {"connect_args": {"connect_timeout": 5}} if url.startswith("postgresql") else {}
    return timeout if url.startswith("sqlite") else {**timeout, "poolclass": NullPool}


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.rpartition(':')[0]}:***@{tail}" if at and ":" in head.partition("://")[2] else url


def objectives(text: str) -> tuple[str, ...]:
    """``"accuracy,time"`` as ("accuracy", "time").

    Raises:
        UserError: for an unknown one, one that stands twice, or without accuracy first.
    """
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in OBJECTIVES:
            raise unknown("objective", name, OBJECTIVES)
    if names[0] != "accuracy" or len(set(names)) < len(names):
        raise UserError(f"--objective {text!r} is not valid: accuracy comes first, and each but once")
    return names


def sampler(name: SamplerName, space: Space, seed: int) -> BaseSampler:
    """A seeded sampler.

    Raises:
        UserError: for an unknown name.
    """
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, multivariate=False)
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "grid":
        return _Grid(spaces.grid(space), seed=seed)
    if name == "cmaes":
        return optuna.samplers.CmaEsSampler(seed=seed)
    raise unknown("sampler", name, get_args(SamplerName))


class _Grid(optuna.samplers.GridSampler):
    """Optuna's, but for the end of the grid: whoever asks for trials knows how many there are."""

    def after_trial(self, *_: Any) -> None:
        """Optuna's would stop a loop that is not there."""


def pruner(name: PrunerName, epochs: int) -> optuna.pruners.BasePruner:
    """What ends trials that do not get on, by their validation accuracy after each epoch.

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
    """The study called ``name``, a new one if there is none.

    Args:
        name: of the study.
        kept: its storage.
        lock: held while a new one is written, so that another process finds all of it or none.
        what: all that its trials have in common, as JSON types: method, task, epochs, space, ...
        ended_by: what prunes the trials of this process.
        first: settings of a new study's first trial; None to draw them too.

    Raises:
        UserError: if there is one of something else; the first difference is named.
    """
    directions = [StudyDirection[OBJECTIVES[each].upper()] for each in what["objectives"]]
    with _held(lock):
        found = optuna.create_study(
            study_name=name, storage=kept, pruner=ended_by, directions=directions, load_if_exists=True
        )
        if not found.get_trials(deepcopy=False):  # a new one, or one whose maker was killed
            for key in what.keys() - found.user_attrs.keys():
                found.set_user_attr(key, what[key])
            if first is not None:
                found.enqueue_trial(dict(first))
    known = found.user_attrs
    for key, value in what.items():
        if known.get(key) != value:
            raise UserError(
                f"study {name!r} is one with {key} {known.get(key)!r}, not {value!r}: give this one another name"
            )
    return found


def _held(lock: Path) -> FileLock:
    lock.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(lock)


def loaded(name: str, kept: BaseStorage) -> optuna.Study:
    """A study that is there.

    Raises:
        UserError: if it is not; names those that are.
    """
    names = sorted(each.study_name for each in optuna.get_all_study_summaries(kept))
    if name not in names:
        raise unknown("study", name, names)
    return optuna.load_study(study_name=name, storage=kept)


def ask(study: optuna.Study, lock: Path, trials: int, draw: Callable[[int], BaseSampler]) -> optuna.Trial | None:
    """The next trial, or None if there are, or others are running, as many as were asked for.

    Trials whose worker died are marked as failed first, and the next to be asked for takes their values.

    Args:
        study: to ask.
        lock: held while it is asked.
        trials: as many as were asked for.
        draw: makes the sampler of the trial with some number.
    """
    with _held(lock):
        for dead in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not _lives(dead):
                attributes = study._storage.set_trial_user_attr  # noqa: SLF001 - a trial of another process
                attributes(dead._trial_id, "reason", DIED)  # noqa: SLF001
                attributes(dead._trial_id, "retried", True)  # noqa: SLF001
                study.tell(dead.number, state=TrialState.FAIL)
                study.enqueue_trial(dead.params, user_attrs={"retry_of": dead.number})
        if counted(study) >= trials:
            return None
        study.sampler = draw(len(study.get_trials(deepcopy=False)))
        trial = study.ask()
        trial.set_user_attr("worker", f"{socket.gethostname()} {os.getpid()} {_started(os.getpid())}")
        return trial


def counted(study: optuna.Study) -> int:
    """Trials that count against the budget: ended or running, but not those that another takes the place of."""
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)
    found = study.get_trials(deepcopy=False, states=states)
    return sum(not trial.user_attrs.get("retried", False) for trial in found)


def _lives(trial: FrozenTrial) -> bool:
    """Whether the process that runs a trial is still there; one on another machine is believed to be."""
    worker = trial.user_attrs.get("worker")
    if worker is None:
        return False
    host, process, started = str(worker).split()
    return host != socket.gethostname() or _started(int(process)) == started


def _started(process: int) -> str:
    """When a process was started, in the system's ticks; empty if there is none of that number."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
