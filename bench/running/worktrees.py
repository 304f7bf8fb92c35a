"""Revisions of this checkout in folders of their own, where their code can run."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import bench
from bench.errors import UserError

_OF_ONE_CHECKOUT = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "BENCH_REFERENCE")
"""Variables that would point every worktree to one place: git's while it runs a hook, and the references' folder, whose
format belongs to the code that reads it."""


def checkout() -> Path:
    """The checkout that this package runs from.

    Raises:
        UserError: if it does not run from a checkout.
    """
    root = Path(bench.__file__).parents[1]
    if not (root / ".git").exists():
        raise UserError("revisions can be compared from a git checkout of this project only; name two folders of runs")
    return root


def resolve(root: Path, revision: str) -> str:
    """The full commit hash of a revision.

    Raises:
        UserError: if there is no such revision.
    """
    done = None if revision.startswith("-") else _git(root, "rev-parse", "--verify", f"{revision}^{{commit}}")
    if done is None or done.returncode:
        raise UserError(
            f"{revision!r} is not a git revision of this checkout; valid are two existing folders of runs, or two "
            "revisions such as HEAD~1 and HEAD"
        )
    return done.stdout.strip()


def uncommitted(root: Path) -> bool:
    """Whether tracked files differ from HEAD: such changes are part of no revision."""
    return bool(_git(root, "status", "--porcelain", "--untracked-files=no").stdout.strip())


def short(root: Path, commit: str) -> str:
    """A commit's abbreviated hash."""
    return _git(root, "rev-parse", "--short", commit).stdout.strip()


@contextlib.contextmanager
def added(root: Path, commits: Mapping[str, str]) -> Iterator[dict[str, Path]]:
    """Check out each commit into a temporary folder; removed afterwards."""
    temporary = Path(tempfile.mkdtemp(prefix="bench-compare-")).resolve()
    folders = {side: temporary / side for side in commits}
    try:
        for side, folder in folders.items():
            # Without hooks: a user's checkout hooks are meant for working folders.
            add = ("-c", f"core.hooksPath={os.devnull}", "worktree", "add", "--detach", str(folder), commits[side])
            done = _git(root, *add)
            if done.returncode:
                reason = (done.stderr.strip().splitlines() or ["git gave no reason"])[-1]
                raise UserError(f"git cannot check out {commits[side]} into {folder}: {reason}")
        yield folders
    finally:
        for folder in folders.values():
            _git(root, "worktree", "remove", "--force", str(folder))
        shutil.rmtree(temporary, ignore_errors=True)
        _git(root, "worktree", "prune")


def register_plugins(folder: Path, name: str) -> None:
    """Make a worktree's entry points known to Python, as an installation would, without a package index.

    ``importlib.metadata`` takes the first distribution of a name along the path, and PYTHONPATH comes before what is
    installed.
    """
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        distribution, groups = project["name"], project["entry-points"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"revision {name} is not a runnable version of this project: {error!r}") from None
    version = project.get("version", "0")
    info = folder / f"{re.sub('[-_.]+', '_', distribution)}-{version}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    lines = [
        line
        for group, entries in groups.items()
        for line in (f"[{group}]", *(f"{k} = {v}" for k, v in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False, env=clean_environment()
        )
    except OSError as error:
        raise UserError(f"git cannot be run ({error.strerror}); without it only folders of runs compare") from error


def clean_environment() -> dict[str, str]:
    """This process's environment without variables that apply to one checkout only."""
    return {key: value for key, value in os.environ.items() if key not in _OF_ONE_CHECKOUT}
