"""Processes of this project that start at once: one process of a test run has imported everything, and forks them.

What a test starts here is a process of its own like any other, but for the seconds that imports take. A test of
starting itself starts `sys.executable` instead.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

from filelock import FileLock

from bench.running import server

PLACE = "BENCH_TEST_SERVER"
OWNER = "BENCH_TEST_RUN"
"""Environment variables with the socket's path, and the process of the test run."""
IMPORTED = (*server.PRELOADED, "bench.cli.app", "bench.running.suite", "bench.report.table", "bench.reference.check")
READ_BY_IMPORTS = ("OMP_", "MKL_", "NUMBA_", "PYTHONHASHSEED", "LD_")
"""Prefixes of environment variables that must be as they were when everything was imported."""
ENVIRON = {"OMP_NUM_THREADS": "1", **{name: value for name, value in os.environ.items() if name == "OMP_WAIT_POLICY"}}


def serve(place, owner):
    """Import everything, then fork a `server.serve` for every connection, until the test run has ended."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen()
    listener.settimeout(2)
    for name in IMPORTED:
        importlib.import_module(name)
    from bench.measure import probe, race

    probe.SEGMENT_SECONDS = race.SEGMENT_SECONDS = 0.002  # for tests of something else than speeds
    race.ROUNDS = race.MOST_ROUNDS = 3
    while Path(f"/proc/{owner}").exists():
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        if os.fork() == 0:
            listener.close()
            connection.settimeout(None)
            with connection.makefile("rb", buffering=0) as lines:
                sys.path[:0] = json.loads(lines.readline())
            with contextlib.suppress(BaseException):
                server.serve(connection)
            os._exit(0)
        connection.close()


def _connected():
    """A connection to the server, which the first one of a test run starts."""
    place = os.environ[PLACE]
    with FileLock(f"{place}.lock"):
        if not Path(place).exists():
            environ = {name: value for name, value in os.environ.items() if not name.startswith(READ_BY_IMPORTS)}
            command = [sys.executable, "-P", __file__, "--serve", place, os.environ[OWNER]]
            path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
            subprocess.run(
                ["sh", "-c", '"$@" &', "sh", *command], check=True, env=environ | ENVIRON | {"PYTHONPATH": path},
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            while not Path(place).exists():
                time.sleep(0.05)
    for _ in range(200):
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(place)
        except ConnectionRefusedError:  # bound, but it does not listen yet
            connection.close()
            time.sleep(0.05)
        else:
            return connection
    raise TimeoutError(f"no server at {place}")


class Server(server.Server):
    """A server that has imported everything already; of another one, where the environment is another."""

    def __init__(self, environ, log):
        other = {name: value for name, value in environ.items() if name.startswith(READ_BY_IMPORTS)}
        if os.environ.get(PLACE) is None or server.MODULE != "bench.running.server" or other != ENVIRON:
            super().__init__(environ, log)
            return
        self._control = _connected()
        path = [part for part in environ.get("PYTHONPATH", "").split(os.pathsep) if part]
        self._control.sendall(json.dumps(path).encode() + b"\n")
        self._process = SimpleNamespace(poll=lambda: None, wait=lambda *_: -signal.SIGKILL)
        self._running = set()


class Process:
    """A process that calls ``main`` of a module, with the interface of ``subprocess.Popen``: `bench`, if none is named.

    Attributes:
        pid, stdout, stderr, returncode: as of ``subprocess.Popen``.
    """

    def __init__(self, arguments, *, cwd, env, module="bench.cli.app"):
        self.returncode = None
        read, write = os.pipe()
        number = Path(cwd) / f".process-{uuid.uuid4().hex}"
        environ = {name: value for name, value in env.items() if not name.startswith(READ_BY_IMPORTS)} | ENVIRON
        with os.fdopen(write, "w") as log:
            self._server = Server(environ, log)
            with contextlib.chdir(cwd):
                called = {"module": module, "arguments": [*map(str, arguments)], "number": str(number)}
                self._process = self._server.start("warm", [json.dumps(called)], [], environ, log)
        self.stdout, self.stderr = self._process.stdout, os.fdopen(read, encoding="utf-8", errors="replace")
        for _ in range(3000):
            if number.exists():
                break
            time.sleep(0.01)
        self.pid = int(number.read_text())
        number.unlink()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.__exit__()
        self.stderr.close()
        self._server.close()

    def kill(self):
        self._process.kill()

    def poll(self):
        if self.returncode is None and select.select([self._process._channel], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout=None):
        self.returncode = self._process.wait()
        return self.returncode

    def communicate(self, timeout=None):
        with ThreadPoolExecutor(1) as pool:
            warned = pool.submit(self.stderr.read)
            said = self.stdout.read()
        self.wait(timeout)
        self.__exit__()
        return said, warned.result()


def run(arguments, **options):
    """The same, as ``subprocess.run`` with text captured."""
    with Process(arguments, **options) as process:
        said, warned = process.communicate()
        return SimpleNamespace(returncode=process.returncode, stdout=said, stderr=warned)


def main(called):
    """Be a ``Process``."""
    called = json.loads(called)
    number = Path(called["number"])
    number.with_suffix(".new").write_text(str(os.getpid()))
    number.with_suffix(".new").rename(number)
    server.Server = Server
    sys.argv[1:] = called["arguments"]
    return importlib.import_module(called["module"]).main(called["arguments"])


def program(folder):
    """A program that is called as Python is, with `-P -m bench ARGUMENTS`, and runs that as a ``Process``."""
    path = Path(folder) / "python"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "$@"\n')
    path.chmod(0o755)
    return str(path)


def _called_as_python(arguments):
    process = Process(arguments[arguments.index("bench") + 1 :], cwd=Path.cwd(), env=os.environ)
    for each in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(each, lambda number, _: os.kill(process.pid, number))
    for line in process.stderr:
        print(line, end="", file=sys.stderr, flush=True)
    return process.wait()


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(*sys.argv[2:])
    else:
        sys.exit(_called_as_python(sys.argv[1:]))
