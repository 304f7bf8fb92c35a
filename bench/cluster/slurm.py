"""An array of SLURM jobs whose tasks are workers on one folder of runs.

    bench submit ---> worklist in the folder, submit.sh beside it ---> sbatch ---> tasks: bench work FOLDER

SLURM starts workers and starts them again; which cell each one runs, the folder decides (``bench.records.claims``). A
task is told some time before its limit, ends after its epoch, and puts itself back into the queue.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import ExitStatus, UserError

SCRIPT = "submit.sh"
LOGS = "slurm"
LEAD_SECONDS = 120
PASSED_ON = ("BENCH_DATA", "BENCH_CACHE", "BENCH_REFERENCE", "BENCH_TRIES")
"""Variables of this project that the jobs get too."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to ask of SLURM.

    Attributes:
        name: of the job.
        runs: folder of runs.
        workers: tasks of the array.
        partition, time, gres: as of ``sbatch``; None to leave them out.
        threads: CPUs of each task.
        exclusive: one task per node, which nothing else uses: only then do speeds compare.
        lead: seconds before the time limit at which a task is told to end.
        setup: lines of the script before the worker starts, such as ``module load cuda``.
        more: further options of ``sbatch``.
    """

    name: str
    runs: Path
    workers: int
    threads: int
    partition: str | None = None
    time: str | None = None
    gres: str | None = None
    exclusive: bool = False
    lead: int = LEAD_SECONDS
    setup: Sequence[str] = ()
    more: Sequence[str] = ()


def script(job: Job) -> str:
    """The batch script of a job."""
    runs = job.runs.absolute()
    options = [
        f"--job-name={job.name}",
        f"--array=1-{job.workers}",
        f"--cpus-per-task={job.threads}",
        *(f"--{name}={value}" for name in ("partition", "time", "gres") if (value := getattr(job, name)) is not None),
        *(["--exclusive"] if job.exclusive else []),
        "--requeue",
        f"--signal=B:USR1@{job.lead}",
        "--open-mode=append",
        f"--chdir={Path.cwd()}",
        f"--output={runs / LOGS}/%A_%a.log",
        *job.more,
    ]
    given = [f"export {name}={shlex.quote(os.environ[name])}" for name in PASSED_ON if os.environ.get(name)]
    worker = shlex.join([sys.executable, "-P", "-m", "bench", "work", str(runs)])
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#SBATCH {option}" for option in options),
            *given,
            *job.setup,
            f"{worker} &",
            "worker=$!",
            "trap 'kill -USR1 \"$worker\"; limit=reached' USR1",
            "trap 'kill -USR1 \"$worker\"' TERM",
            'while wait "$worker"; status=$?; kill -0 "$worker" 2>/dev/null; do :; done  # a signal ends a wait',
            f'if [ "$limit $status" = "reached {ExitStatus.STOPPED:d}" ]; then',
            '  scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"',
            "fi",
            'exit "$status"',
            "",
        ]
    )


def write(job: Job) -> Path:
    """Write a job's script into its folder of runs, with a folder for its logs."""
    (job.runs / LOGS).mkdir(parents=True, exist_ok=True)
    path = job.runs / SCRIPT
    path.write_text(script(job), encoding="utf-8")
    return path


def submit(path: Path) -> str:
    """Submit a script; the job's number.

    Raises:
        UserError: if there is no SLURM here, or it refuses the job; SLURM's own sentence.
    """
    if shutil.which("sbatch") is None:
        raise UserError(f"there is no sbatch on this machine; {path} can be submitted where there is one")
    done = subprocess.run(["sbatch", "--parsable", str(path)], capture_output=True, text=True, check=False)
    found = re.match(r"\d+", done.stdout)
    if done.returncode or found is None:
        said = " ".join((done.stderr or done.stdout).split()) or f"exit status {done.returncode}"
        raise UserError(f"sbatch refused {path}: {said}")
    return found.group()
