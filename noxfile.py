"""Sessions: benchmark, tests, gate, lint, types, micro, reliability.

    python3 noxfile.py -s benchmark                    the same as `nox -s benchmark`, on a machine without nox too
    python3 noxfile.py -s benchmark -- --suite smoke   what follows `--` goes to `bench run`

Dependencies are installed once per machine, with the exact versions of constraints.txt, into the user's cache; all
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
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

if sys.version_info < (3, 11):  # noqa: UP036 -- this file runs before anything has looked at requires-python
    sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]} at {sys.executable}")

import tomllib  # new in 3.11

ROOT = Path(__file__).parent.resolve()
CONSTRAINTS = ROOT / "constraints.txt"
PYPROJECT = ROOT / "pyproject.toml"
SYSTEM_LIBRARIES = ("g++", "libopencv-dev", "libturbojpeg0-dev", "pkg-config")
GATE_STATUS = "BENCH_GATE_STATUS"
"""Where the session `gate` leaves its status: nox itself ends with 1, whatever went wrong."""
KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
"""What is timed runs as every cell does, see bench/running/local.py."""
TWO_FILES_AT_A_TIME = ("--numprocesses", str(min(2, os.cpu_count() or 1)), "--dist", "loadfile")
TWO_AT_ONCE = {"OMP_NUM_THREADS": "1", "BENCH_TRIES": "1"}
"""For each of two processes: more threads than cores wait for one another, and no timing is ever undisturbed."""
OLDEST_NOX = (2024, 10, 9)


def _project() -> dict[str, Any]:
    return tomllib.loads(PYPROJECT.read_text())


def _cache() -> Path:
    """The same folder as ``bench.data.cache``; the project is not installed yet when it is needed here."""
    for variable in ("BENCH_CACHE", "XDG_CACHE_HOME"):
        if folder := os.environ.get(variable):
            return Path(folder).expanduser() / "local-learning-bench"
    return Path.home() / ".cache" / "local-learning-bench"


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """One process at a time; released by the system if the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _version() -> str:
    return f"py{sys.version_info.major}.{sys.version_info.minor}-{platform.machine()}"


def _nox_is_here() -> bool:
    try:
        return tuple(int(part) for part in version("nox").split(".")[:3]) >= OLDEST_NOX
    except (PackageNotFoundError, ValueError):
        return False


if __name__ == "__main__":
    if not _nox_is_here():
        # A bare machine: nox goes into an environment of its own, and everything starts again inside it.
        place = _cache() / f"nox-{_version()}"
        with _lock(place.with_name(f"{place.name}.lock")):
            if not (place / "complete").exists():
                shutil.rmtree(place, ignore_errors=True)
                try:
                    _run(sys.executable, "-m", "venv", place)
                    _run(
                        place / "bin" / "python", "-m", "pip", "install", "--quiet", "--constraint", CONSTRAINTS, "nox"
                    )
                except subprocess.CalledProcessError as error:
                    sys.exit(f"nox could not be installed into {place} (see above): {' '.join(error.cmd)}")
                (place / "complete").touch()
        os.execv(place / "bin" / "python", [str(place / "bin" / "python"), __file__, *sys.argv[1:]])  # noqa: S606

import nox  # noqa: E402 -- see above

nox.needs_version = ">=" + ".".join(str(part) for part in OLDEST_NOX)
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]


@nox.session
def benchmark(session: nox.Session) -> None:
    """Run a suite, `quick` by default, and print its table; arguments go to `bench run`."""
    session.run(*_bench(session), "run", *session.posargs, external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, two files at a time; --quick runs the fast ones; other arguments go to pytest, one at a time."""
    arguments, env = session.posargs, {}
    if arguments in ([], ["--quick"]):
        arguments, env = [*TWO_FILES_AT_A_TIME, *arguments], TWO_AT_ONCE
    session.run(_python(session), "-m", "pytest", *arguments, env=env, external=True)


@nox.session(default=False)
def gate(session: nox.Session) -> None:
    """Measure a suite afresh, `ci` by default, and check it against the references; all is left in gate-out/."""
    suite = session.posargs[0] if session.posargs else "ci"
    out = ROOT / "gate-out"
    shutil.rmtree(out, ignore_errors=True)
    runs, table = out / "runs", out / "check.md"
    command = _bench(session)
    run = [*command, "run", "--suite", suite, "--out", runs]
    status = subprocess.run([str(part) for part in run], check=False).returncode
    if status not in (0, 3):  # 3, a cell failed: the check says so too, beside what it has to say of the others
        _end(session, "bench run", status)
    check = [*command, "check", suite, "--runs", runs, "--junit", out / "junit.xml", "--format", "markdown"]
    with table.open("w") as file:
        status = subprocess.run([str(part) for part in check], stdout=file, check=False).returncode
    print(table.read_text(), flush=True)
    if status:
        _end(session, "bench check", status)


def _end(session: nox.Session, command: str, status: int) -> NoReturn:
    """Fail with a command's own exit status, of which nox would make a 1."""
    os.environ[GATE_STATUS] = str(status)
    session.error(f"{command} ended with exit status {status}")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style with ruff."""
    python = _python(session)
    session.run(python, "-m", "ruff", "check", external=True)
    session.run(python, "-m", "ruff", "format", "--check", external=True)


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy."""
    session.run(_python(session), "-m", "mypy", external=True)


@nox.session(default=False)
def micro(session: nox.Session) -> None:
    """Time single steps with pytest-benchmark; arguments go to pytest."""
    session.run(
        _python(session), "-m", "pytest", "tests/micro", "-o", "timeout=0", "--benchmark-only", *session.posargs,
        external=True, env=KEEP_FREED_MEMORY,
    )  # fmt: skip


@nox.session(default=False)
def reliability(session: nox.Session) -> None:
    """Plant defects, run the gate on each, count what it catches, and draw healthy suites: two or three hours."""
    python = _python(session)
    for script, actions in (("gate_on_defects.py", ("run", "judge")), ("false_alarms.py", ("run", "count"))):
        for action in actions:
            session.run(python, f"tests/reliability/{script}", action, external=True)
    session.run(python, "tests/reliability/page.py", external=True)


def _bench(session: nox.Session) -> list[str]:
    return [_python(session), "-m", "bench"]


def _python(session: nox.Session) -> str:
    """The interpreter of this clone's thin environment, made or brought up to date first."""
    try:
        return _thin_environment(session, _shared_environment(session))
    except subprocess.CalledProcessError as error:
        session.error(f"the environment could not be made (see above): {' '.join(error.cmd)}")


def _thin_environment(session: nox.Session, shared: Path) -> str:
    thin = ROOT / ".nox" / f"project-{_version()}"
    state = f"{shared}\n{hashlib.sha256(PYPROJECT.read_bytes()).hexdigest()}\n{ROOT}\n"
    marker = thin / "state.txt"
    with _lock(ROOT / ".nox" / "project.lock"):
        if not marker.exists() or marker.read_text() != state:
            shutil.rmtree(thin, ignore_errors=True)
            session.log("installing the project into %s", thin.relative_to(ROOT))
            _run(sys.executable, "-m", "venv", "--without-pip", thin)
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


def _shared_environment(session: nox.Session) -> Path:
    """The environment with all dependencies, built on the first call on a machine."""
    project = _project()
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
        *project["build-system"]["requires"],
        "editables",
    ]
    key = hashlib.sha256("\n".join([*wanted, CONSTRAINTS.read_text()]).encode()).hexdigest()[:12]
    place = _cache() / "environments" / f"{_version()}-{key}"
    python = place / "bin" / "python"
    with _lock(place.with_name(f"{place.name}.lock")):
        if not (place / "complete").exists():
            session.log("installing dependencies into %s (once per machine, a few minutes)", place)
            shutil.rmtree(place, ignore_errors=True)
            _run(sys.executable, "-m", "venv", place)
            _install(python, "pip")
            # torch first and by its exact pin: resolved together with the rest, pip would look at newer ones too.
            _install(python, "torch", "torchvision")
            _install(python, *wanted)
            (place / "complete").touch()
        _add_ffcv(session, place)
    return place


def _install(python: Path, *packages: str) -> None:
    _run(python, "-m", "pip", "install", "--quiet", "--upgrade", "--constraint", CONSTRAINTS, *packages)


def _add_ffcv(session: nox.Session, place: Path) -> None:
    """Build FFCV if its system libraries are there or can be installed; everything else works without it."""
    if any(place.glob("lib/python*/site-packages/ffcv/_libffcv*")):
        return
    failed = place / "ffcv-failed"
    if failed.exists():
        session.warn("FFCV could not be built before, the in-memory loader serves; remove %s to try again", failed)
        return
    advice = f"apt-get install {' '.join(SYSTEM_LIBRARIES)}"
    if not _has_libraries() and not _install_libraries(session):
        session.warn("FFCV is left out, the in-memory loader serves instead; to have it, run `%s` as root", advice)
        return
    try:
        _install(place / "bin" / "python", *_project()["project"]["optional-dependencies"]["ffcv"])
    except subprocess.CalledProcessError:
        failed.touch()
        session.warn("FFCV could not be built (pip's message is above), the in-memory loader serves instead")


def _has_libraries() -> bool:
    if shutil.which("pkg-config") is None or shutil.which("g++") is None:
        return False
    return subprocess.run(["pkg-config", "--exists", "opencv4", "libturbojpeg"], check=False).returncode == 0


def _install_libraries(session: nox.Session) -> bool:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    session.log("installing FFCV's system libraries: %s", " ".join(SYSTEM_LIBRARIES))
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", *SYSTEM_LIBRARIES]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            session.warn("%s failed: %s", " ".join(command[:2]), done.stderr.strip().splitlines()[-1:])
            return False
    return _has_libraries()


if __name__ == "__main__":
    try:
        nox.main()
    except SystemExit as end:
        sys.exit(int(os.environ.get(GATE_STATUS, "0")) or end.code)
