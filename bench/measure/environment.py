"""The code, machine and libraries of a run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch

import bench
from bench.records import CellSpec, Code, Environment, Record, sources


def environment(device: torch.device) -> Environment:
    """The machine and the libraries that determine speed and last bits."""
    return Environment(
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=version("numpy"),
        ffcv=_version_or_none("ffcv"),
        platform=platform.platform(terse=True),
        cpu=_cpu_model(),
        gpu=torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        isa=torch.backends.cpu.get_cpu_capability(),
        deterministic_algorithms=torch.are_deterministic_algorithms_enabled(),
    )


def code(cell: CellSpec | None = None) -> Code:
    """Version, commit and fingerprint of this project's code, and of a cell's computation."""
    return _project() if cell is None else _project().model_copy(update={"computation": sources.computation(cell)})


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Another number of threads; with two, sums are taken in another order than with one."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _project() -> Code:
    root = Path(bench.__file__).parents[1]
    commit = _git(root, "rev-parse", "HEAD")
    status = _git(root, "status", "--porcelain", "--untracked-files=no", "--", *sources.PROJECT)
    dirty = None if commit is None or status is None else bool(status)
    return Code(version=bench.__version__, commit=commit, dirty=dirty, fingerprint=fingerprint())


def made_here(*, any_code: bool = False) -> Callable[[Record], bool]:
    """A test whether a record was made by the current code and torch; always true with ``any_code``.

    The one question that finished cells, interrupted ones, the gate and the update of references ask.
    """
    return lambda record: any_code or maker(record) == here(record.cell)


def maker(record: Record) -> str:
    """The code and torch that made a record, as ``here`` gives them."""
    return _maker(record.code.computation, record.environment.torch)


def here(cell: CellSpec) -> str:
    """The code and torch that a cell's computation would use now."""
    return _maker(sources.computation(cell), torch.__version__)


def _maker(computation: str | None, torch_version: str) -> str:
    return f"{computation or 'unknown code'} torch {torch_version}"


def stale(finished: Sequence[Record]) -> list[str]:
    """A note if records were made by other code than their cells would run now."""
    old = [record for record in finished if sources.is_current(record) is False]
    if not old:
        return []
    return [f"{len(old)} of {len(finished)} records were made by other code; `bench refresh` measures them again"]


def fingerprint() -> str:
    """Hash of the names and contents of the three packages' source files."""
    digest = hashlib.sha256()
    for package in sources.PROJECT:
        spec = find_spec(package)
        if spec is None or spec.submodule_search_locations is None:
            continue
        folder = Path(next(iter(spec.submodule_search_locations)))
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{package}/{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _git(root: Path, *arguments: str) -> str | None:
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version_or_none(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
