"""Runs two revisions of a checkout in turns, each with its own code, in its own git worktree.

A machine's speed drifts over minutes. Runs in turns (A B, B A, A B, ...) share the drift; one more run of A after the
first pair gives the A/A ratio, the speed ratio of equal code on this machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from bench import records
from bench.errors import ExitStatus, UserError, unknown
from bench.records import prepare_folder
from bench.running import worktrees

A, B, AGAIN = "a", "b", "a-again"
"""Folders of the records; A's second run, for the A/A ratio, has its own."""
_SUITES = Path("bench/suites")


@dataclass(frozen=True)
class Call:
    """One ``bench run``, for one seed of one method.

    Attributes:
        side: the folder of its record.
        problem: what went wrong, empty if nothing did.
    """

    side: str
    method: str
    seed: int
    problem: str = ""


def second_run(folder: Path) -> Path:
    """The folder of a side's second run, next to that of the first; it need not exist."""
    return folder.resolve().with_name(f"{folder.resolve().name}{AGAIN.removeprefix(A)}")


def run_interleaved(
    root: Path,
    rev_a: str,
    rev_b: str,
    *,
    suite: str,
    methods: Sequence[str] | None,
    seeds: int,
    out: Path,
    options: Sequence[str] = (),
    again: bool = True,
    say: Callable[[str], None],
) -> list[Call]:
    """Run a suite with the code of two revisions, seed by seed and method by method in turns.

    Records go to the folders ``a``, ``b`` and ``a-again`` in ``out``. Cells finished there are skipped. A failing call
    does not stop the others.

    Args:
        root: the checkout; unchanged, except for git's list of worktrees during the runs.
        rev_a: one revision of it.
        rev_b: the other; may be the same.
        suite: a suite's name, read by each revision from its own files, or the path of a TOML file for both.
        methods: of the suite; None for all that both revisions have.
        seeds: number of seeds, from 0.
        out: folder for the records.
        options: further options of ``bench run``, equal for both.
        again: run A's first seed once more, for the A/A ratio.
        say: called with one line per call.

    Raises:
        UserError: for a revision or suite that does not exist, for input that a revision's ``bench run`` rejects, and
        for
            records in ``out`` made by other code.
    """
    if seeds < 1:
        raise UserError(f"--seeds must be at least 1, got {seeds}")
    commits = {A: worktrees.resolve(root, rev_a), B: worktrees.resolve(root, rev_b)}
    names = {A: f"A ({rev_a})", B: f"B ({rev_b})"}
    out = out.resolve()
    prepare_folder(out)
    _check_commits(out, commits)
    with worktrees.added(root, commits) as folders:
        for side, folder in folders.items():
            worktrees.register_plugins(folder, names[side])
        offered = {side: _methods(suite, folder, names[side]) for side, folder in folders.items()}
        chosen = list(methods) if methods is not None else _common(offered, names, say)
        turns = list(_turns(chosen, seeds, again=again))
        calls = []
        for number, (side, method, seed) in enumerate(turns, start=1):
            source = A if side == AGAIN else side
            arguments = [suite if not suite.endswith(".toml") else str(Path(suite).resolve()), "--methods", method]
            arguments += ["--seeds", str(seed + 1), "--no-plots", "--format", "json", "--out", str(out / side)]
            start = monotonic()
            problem = _run([*arguments, *options], folders[source], names[source])
            calls.append(Call(side, method, seed, problem))
            second = " once more" if side == AGAIN else ""
            how = problem or f"{monotonic() - start:.0f} s"
            say(f"[{number}/{len(turns)}] {names[source]}{second}: {method}, seed {seed}: {how}")
    _check_commits(out, commits)
    return calls


def _turns(methods: Sequence[str], seeds: int, *, again: bool) -> Iterator[tuple[str, str, int]]:
    """Side, method and seed of every call; the sides take turns in being first."""
    for seed in range(seeds):
        for method in methods:
            for side in (B, A) if seed % 2 else (A, B):
                yield side, method, seed
            if again and seed == 0:
                yield AGAIN, method, seed


def _run(arguments: Sequence[str], folder: Path, name: str) -> str:
    """Run ``bench run`` with the code in ``folder``; returns what went wrong, empty if nothing did."""
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    # -P: the working directory must not come before the worktree.
    command = [sys.executable, "-P", "-m", "bench", "run", *arguments]
    environment = {**worktrees.clean_environment(), "PYTHONPATH": path}
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", env=environment,
        check=False,
    )  # fmt: skip
    if done.returncode == ExitStatus.OK:
        return ""
    lines = done.stderr.strip().splitlines() or ["no output"]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")] or lines
    if done.returncode == ExitStatus.BAD_INPUT:
        raise UserError(f"revision {name} rejects the run: {errors[-1]}")
    how = f"was killed by signal {-done.returncode}" if done.returncode < 0 else f"failed, status {done.returncode}"
    return f"{how}: {errors[-1]}"


def _methods(suite: str, folder: Path, name: str) -> list[str]:
    """The methods of a suite, in its own order."""
    path = Path(suite) if suite.endswith(".toml") else folder / _SUITES / f"{suite}.toml"
    if not path.is_file():
        if suite.endswith(".toml"):
            raise UserError(f"suite file {suite!r} does not exist")
        raise unknown(f"suite of revision {name}", suite, (file.stem for file in (folder / _SUITES).glob("*.toml")))
    try:
        return list(tomllib.loads(path.read_text(encoding="utf-8")).get("methods", {}))
    except ValueError as error:
        raise UserError(f"suite {suite} of revision {name} is not valid TOML: {error}") from None


def _common(offered: Mapping[str, list[str]], names: Mapping[str, str], say: Callable[[str], None]) -> list[str]:
    """The methods that both revisions' suites have; reports those left out."""
    common = [method for method in offered[A] if method in offered[B]]
    for side, methods in offered.items():
        if left := [method for method in methods if method not in common]:
            say(f"note: left out, in {names[side]} only: {', '.join(left)}")
    if not common:
        raise UserError("the suite has no method in both revisions; choose another with --suite")
    return common


def _check_commits(out: Path, commits: Mapping[str, str]) -> None:
    """Check that finished cells in ``out`` are the revisions' own: ``bench run`` skips them whatever their code."""
    for side in (A, B, AGAIN):
        if (out / side).is_dir():
            expected = commits[A if side == AGAIN else side]
            for record in records.read_all(out / side).records:
                if record.code.commit != expected:
                    raise UserError(
                        f"{out / side} has records of commit {record.code.commit}, not of {expected}; choose an empty "
                        "folder with --out"
                    )
