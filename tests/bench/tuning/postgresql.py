"""A temporary PostgreSQL server for tests: on a free port of this machine, in a temporary folder."""

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
PATIENCE = 30.0
"""Seconds to wait for a server that does not answer."""
MOST = 300.0
"""Timeout of one command, such as an installation, in seconds."""


class CannotStartError(Exception):
    """The reason why there is no server; one line."""


@contextlib.contextmanager
def server():
    """The URL of an empty database.

    Where the programs are missing they are installed if BENCH_INSTALL=1 allows it (as root, with apt).
    """
    programs = _programs() or _installed()
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root; its package makes a user
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    password, port = secrets.token_hex(8), _free_port()
    try:
        (folder / "password").write_text(password)
        if user:
            _give_to(user, folder, folder / "password")
        _run(
            programs / "initdb", "-D", folder / "data", "-U", "bench", "-A", "scram-sha-256", "-N",
            "--pwfile", folder / "password", user=user,
        )  # fmt: skip
        with _running(programs, folder, port, user):
            yield f"postgresql://bench:{password}@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _running(programs, folder, port, user):
    command = [programs / "postgres", "-D", folder / "data", "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **_as(user))
    try:
        deadline = time.monotonic() + PATIENCE
        ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        while subprocess.run(ready, check=False).returncode != 0:
            if process.poll() is not None or time.monotonic() > deadline:
                raise CannotStartError(f"PostgreSQL does not start: {(folder / 'log').read_text().strip()[-300:]}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()  # waits for those who are connected
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.send_signal(2)  # ends their connections
            process.wait(5)


def _programs():
    """The folder with PostgreSQL's programs, None if there is none."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = [folder for place in PLACES for folder in Path("/").glob(place[1:]) if (folder / "initdb").exists()]
    return max(folders, key=_version, default=None)


def _version(folder):
    return [int(number) for number in re.findall(r"\d+", str(folder))]


def _give_to(user, *paths):
    try:
        for path in paths:
            shutil.chown(path, user)
    except LookupError:
        raise CannotStartError(f"there is no user {user!r}, and PostgreSQL does not run as root") from None


def _installed():
    if os.environ.get("BENCH_INSTALL") != "1" or os.geteuid() != 0 or shutil.which("apt-get") is None:
        advice = "`apt-get install postgresql` as root, or BENCH_INSTALL=1 for the tests to do so"
        raise CannotStartError(f"PostgreSQL is not installed: {advice}")
    _run("apt-get", "update", "-qq")
    _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "postgresql")
    if (found := _programs()) is None:
        raise CannotStartError("PostgreSQL's package has no program initdb")
    return found


def _run(*command, user=None):
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, check=False, env=environment, cwd="/",
            timeout=MOST, **_as(user),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise CannotStartError(f"{Path(command[0]).name} did not end within {MOST:.0f} seconds") from None
    if done.returncode != 0:
        raise CannotStartError(f"{Path(command[0]).name} failed: {done.stderr.strip()[-300:]}")


def _as(user):
    return {"user": user, "extra_groups": []} if user else {}


def _free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
