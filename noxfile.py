"""Sessions: benchmark, tests, coverage, gate, lint, types, docs, micro, reliability, versions, minimums.

    python3 noxfile.py -s benchmark                    the same as `nox -s benchmark`, on a machine without nox too
    python3 noxfile.py -s benchmark -- --suite smoke   what follows `--` goes to `bench run`

Packages are installed once per machine, with the exact versions of constraints.txt, into the user's cache; all
sessions and all clones share them. Each clone has a thin environment of its own on top of them, in which only the
project is installed, so that no clone ever runs another one's code.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

if sys.version_info < (3, 11):  # noqa: UP036 -- this file runs before anything has looked at requires-python
    sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]} at {sys.executable}")

import tomllib  # new in 3.11

ROOT = Path(__file__).parent.resolve()
PYPROJECT = ROOT / "pyproject.toml"
PINS = (ROOT / "constraints.txt").read_text()
PROJECT: dict[str, Any] = tomllib.loads(PYPROJECT.read_text())
DEPENDENCIES: list[str] = PROJECT["project"]["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
TO_BUILD = [*PROJECT["build-system"]["requires"], "editables"]
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
CACHE_ROOT = os.environ.get("BENCH_CACHE") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
CACHE = Path(CACHE_ROOT).expanduser() / "local-learning-bench"  # as bench.inputs has it, not installed yet
SYSTEM_LIBRARIES = ("g++", "libopencv-dev", "libturbojpeg0-dev", "pkg-config")
COVERAGE = ("coverage==7.10.7",)
KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
"""What is timed runs as every cell does, see bench/running/local.py."""
THREE_AT_A_TIME = ("--numprocesses", str(min(3, 1 + (os.cpu_count() or 1))), "--dist", "worksteal")
"""On two cores: there is always a test that waits, for a queue, a clock, or a process of its own."""
BESIDE_OTHERS = {"OMP_NUM_THREADS": "1", "BENCH_TRIES": "1", "OMP_WAIT_POLICY": "PASSIVE"}
"""For each of the processes: no timing is ever undisturbed, and threads that wait for a core sleep: where they spin,
tests with two threads take ten times as long."""


def _say(text: str) -> None:
    print(f"noxfile > {text}", file=sys.stderr, flush=True)


def _succeeds(*command: str | Path, **options: Any) -> bool:
    return subprocess.run([str(part) for part in command], check=False, cwd=ROOT, **options).returncode == 0


def _run(*command: str | Path) -> None:
    if not _succeeds(*command):
        sys.exit(f"the environment could not be made (see above): {' '.join(map(str, command))}")


@contextlib.contextmanager
def _lock(place: Path) -> Iterator[None]:
    """One process at a time; released by the system if the process dies."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f"{place.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _packages(wanted: Sequence[str], pins: str = PINS, python: str = HERE, *, ffcv: bool = False) -> Path:
    """An environment with these packages, in the cache; the first call on a machine makes it."""
    key = hashlib.sha256("\n".join([*map(_name, wanted), pins]).encode()).hexdigest()[:12]
    place = CACHE / "environments" / f"py{python}-{platform.machine()}-{key}"
    pinned = place.with_name(f"{place.name}.txt")
    pip = (place / "bin" / "python", "-m", "pip", "install", "--quiet", "--upgrade", "--constraint", pinned)
    with _lock(place):
        pinned.write_text(pins)
        if not (place / "complete").exists():
            _say(f"installing packages into {place} (once per machine)")
            shutil.rmtree(place, ignore_errors=True)
            _run(_interpreter(python), "-m", "venv", place)
            _run(*pip, "pip")
            # torch first and by its exact pin: resolved together with the rest, pip would look at newer ones too.
            if torch := [name for name in wanted if name.startswith("torch")]:
                _run(*pip, *torch)
            _run(*pip, *wanted)
            (place / "complete").touch()
        if ffcv and not any(place.glob("lib/python*/site-packages/ffcv/_libffcv*")):
            _build_ffcv(place / "ffcv-failed", *pip, *EXTRAS["ffcv"])
    return place


def _name(requirement: str) -> str:
    """Without a version: another lower bound changes nothing where versions are pinned."""
    return requirement.partition(">=")[0]


def _interpreter(version: str) -> str:
    return sys.executable if version == HERE else shutil.which(f"python{version}") or ""


def _build_ffcv(failed: Path, *install: str | Path) -> None:
    """Where its system libraries are there or can be installed; everything else works without it."""
    serves = "the in-memory loader serves instead"
    if failed.exists():
        _say(f"FFCV could not be built before, {serves}; remove {failed} to try again")
    elif not _has_libraries() and not _install_libraries():
        _say(f"FFCV is left out, {serves}; to have it, run as root: apt-get install {' '.join(SYSTEM_LIBRARIES)}")
    elif not _succeeds(*install):
        failed.touch()
        _say(f"FFCV could not be built (pip's message is above), {serves}")


def _has_libraries() -> bool:
    has_tools = shutil.which("pkg-config") is not None and shutil.which("g++") is not None
    return has_tools and _succeeds("pkg-config", "--exists", "opencv4", "libturbojpeg")


def _install_libraries() -> bool:
    if os.environ.get("BENCH_INSTALL") == "0" or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    _say(f"installing FFCV's system packages (BENCH_INSTALL=0 leaves them out): {' '.join(SYSTEM_LIBRARIES)}")
    options: dict[str, Any] = {
        "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        "stdout": subprocess.DEVNULL,
    }
    return (
        _succeeds("apt-get", "update", "-qq", **options)
        and _succeeds("apt-get", "install", "-y", "-qq", *SYSTEM_LIBRARIES, **options)
        and _has_libraries()
    )


def _python(
    wanted: Sequence[str] = (*DEPENDENCIES, *EXTRAS["dev"], *TO_BUILD),
    pins: str = PINS,
    python: str = HERE,
    *,
    name: str = "project",
    ffcv: bool = True,
) -> str:
    """The interpreter of this clone's thin environment, made or brought up to date first.

    What else was installed into it, such as somebody's own methods, stays.
    """
    shared = _packages(wanted, pins, python, ffcv=ffcv)
    thin = ROOT / ".nox" / f"{name}-py{python}-{platform.machine()}"
    state = f"{shared}\n{hashlib.sha256(PYPROJECT.read_bytes()).hexdigest()}\n{ROOT}\n"
    marker = thin / "state.txt"
    with _lock(thin):
        if not marker.exists() or marker.read_text() != state:
            _say(f"installing the project into {thin.relative_to(ROOT)}")
            _run(shared / "bin" / "python", "-m", "venv", "--without-pip", thin)
            site = next(thin.glob("lib/python*/site-packages"))
            packages = next(shared.glob("lib/python*/site-packages"))
            # addsitedir, not the bare path: the shared packages' own .pth files have to work too.
            (site / "shared.pth").write_text(f"import site; site.addsitedir({str(packages)!r})\n")
            _run(
                shared / "bin" / "python", "-m", "pip", "--python", thin / "bin" / "python", "install", "--quiet",
                "--no-deps", "--no-build-isolation", "--editable", ROOT,
            )  # fmt: skip
            marker.write_text(state)
    return str(thin / "bin" / "python")


if __name__ == "__main__" and not (nox_place := _packages(["nox"])).samefile(sys.prefix):
    # nox has an environment of its own, and everything starts again inside it.
    inside = str(nox_place / "bin" / "python")
    os.execv(inside, [inside, __file__, *sys.argv[1:]])  # noqa: S606

import nox  # noqa: E402 -- see above

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "none"


@nox.session(default=False)
def benchmark(session: nox.Session) -> None:
    """Run a suite, `quick` by default, and print its table; arguments go to `bench run`."""
    session.run(_python(), "-m", "bench", "run", *session.posargs, external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, three at a time; --quick runs the fast ones; other arguments go to pytest, one at a time."""
    if session.posargs in ([], ["--quick"]):
        _test_side_by_side(session, _python(), *session.posargs)
    else:
        session.run(_python(), "-m", "pytest", *session.posargs, external=True)


def _test_side_by_side(session: nox.Session, python: str, *arguments: str) -> None:
    session.run(python, "-m", "pytest", *THREE_AT_A_TIME, *arguments, env=BESIDE_OTHERS, external=True)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Measure what the quick tests cover, in processes they start too; less than the floor in pyproject.toml fails."""
    python = Path(_python(name="coverage"))
    packages = [next(place.glob("lib/python*/site-packages")) for place in (python.parents[1], _packages(COVERAGE))]
    (packages[0] / "measured-by.pth").write_text(f"{packages[1]}\n")
    env = BESIDE_OTHERS | {"COVERAGE_FILE": str(ROOT / ".nox" / "coverage.data")}
    run, tests = (str(python), "-m", "coverage"), session.posargs or ["--quick"]
    session.run(*run, "erase", env=env, external=True)
    session.run(*run, "run", "-m", "pytest", *THREE_AT_A_TIME, *tests, env=env, external=True)
    session.run(*run, "combine", "--quiet", env=env, external=True)
    session.run(*run, "report", env=env, external=True)


@nox.session(default=False)
def gate(session: nox.Session) -> None:
    """Measure a suite afresh, `ci` by default, and check it against the references; all is left in gate-out/."""
    suite = session.posargs[0] if session.posargs else "ci"
    bench, out = (_python(), "-m", "bench"), ROOT / "gate-out"
    shutil.rmtree(out, ignore_errors=True)
    status = subprocess.run([*bench, "run", suite, "--out", out / "runs"], check=False).returncode
    if status in (0, 3):  # 3, a cell failed: the check says so too, beside what it has to say of the others
        check = [*bench, "check", suite, "--runs", out / "runs", "--junit", out / "junit.xml", "--format", "markdown"]
        with (out / "check.md").open("w") as file:
            status = subprocess.run(check, stdout=file, check=False).returncode
        print((out / "check.md").read_text(), flush=True)
    if status:
        session.warn(f"the gate ends with bench's exit status {status}")
        sys.exit(status)  # session.error would make a 1 of it


@nox.session
def lint(session: nox.Session) -> None:
    """Check style with ruff."""
    session.run(_python(), "-m", "ruff", "check", external=True)
    session.run(_python(), "-m", "ruff", "format", "--check", external=True)


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy."""
    session.run(_python(), "-m", "mypy", external=True)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Fill the leaderboard from the kept records, and build the site into build/site; a warning is an error."""
    session.run(_python(), "-m", "bench", "fill", "docs/results/leaderboard.md", external=True)
    place = _packages(EXTRAS["docs"], (ROOT / "docs" / "constraints.txt").read_text())
    session.run(str(place / "bin" / "mkdocs"), "build", "--strict", "--config-file", "docs/site/mkdocs.yml",
                *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"}, external=True)  # fmt: skip


@nox.session(default=False)
def micro(session: nox.Session) -> None:
    """Time single steps with pytest-benchmark; arguments go to pytest."""
    session.run(
        _python(), "-m", "pytest", "tests/micro", "-o", "timeout=0", "--benchmark-only", *session.posargs,
        external=True, env=KEEP_FREED_MEMORY,
    )  # fmt: skip


@nox.session(default=False)
def gpu(session: nox.Session) -> None:
    """Run the tests that need a GPU, then time steps and loaders on it: all is left in gpu-out/gpu.json."""
    session.run(_python(), "-m", "pytest", "-m", "gpu", "--maxfail", "20", external=True, success_codes=[0, 1, 5])
    session.run(_python(), "tests/gpu/measure.py", "gpu-out/gpu.json", *session.posargs, external=True)


@nox.session(default=False)
def reliability(session: nox.Session) -> None:
    """Simulate seeds, plant defects, draw healthy suites, kill workers: three hours; with `-- seeds` only simulate."""
    trained = (("gate_on_defects.py", "run"), ("gate_on_defects.py", "judge"), ("false_alarms.py", "run"),
               ("false_alarms.py", "count"))  # fmt: skip
    counted = (("false_alarms.py", "recount"),)
    for script, *action in (("seeds.py",), *(counted if session.posargs == ["seeds"] else trained)):
        session.run(_python(), f"tests/reliability/{script}", *action, external=True)
    if session.posargs != ["seeds"]:
        session.run(
            _python(), "tests/reliability/kills.py", env={"PYTHONPATH": str(ROOT / "tests/bench")}, external=True
        )
    session.run(_python(), "tests/reliability/page.py", external=True)


@nox.session(default=False)
@nox.parametrize("version", [nox.param(each, id=each) for each in nox.project.python_versions(PROJECT)])
def versions(session: nox.Session, version: str) -> None:
    """Run the quick tests on every version of Python that the project names, where it is installed."""
    if not _succeeds(_interpreter(version) or "false", "-c", "import ensurepip", stderr=subprocess.DEVNULL):
        session.skip(f"python{version} is not on the PATH, or has no ensurepip")
    _test_side_by_side(session, _python(python=version, name="versions"), *(session.posargs or ["--quick"]))


@nox.session(default=False)
def minimums(session: nox.Session) -> None:
    """Run the quick tests on the oldest versions of its dependencies that the project allows; they may warn."""
    tools = [each for each in EXTRAS["dev"] if each.startswith(("hypothesis", "psycopg", "pytest"))]
    names = {_name(each).partition("[")[0] for each in tools}
    pins = [line for line in PINS.splitlines() if line.partition("==")[0] in names]
    oldest = "\n".join([*(each.replace(">=", "==") for each in DEPENDENCIES), *pins])
    python = _python([*DEPENDENCIES, *tools, *TO_BUILD], oldest, name="minimums", ffcv=False)
    _test_side_by_side(session, python, "-W", "ignore", *(session.posargs or ["--quick"]))


if __name__ == "__main__":
    nox.main()
