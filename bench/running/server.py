"""A process that has imported what every cell needs, and forks a process for each: importing takes seconds.

    harness ---- started once ------------------------------> server    python -m bench.running.server
       | ---- folder, environment, output and log ------------> | ---- forks ----> bench.running.cell
       | <--- exit status --------------------------------------+                       |
       + <--- events, by a pipe --------------------------------------------------------+

The server computes nothing, because threads do not survive a fork. It imports nothing of plug-ins, keeps no state of a
cell, and ends when its harness does. CUDA does not survive a fork either, and imports may already touch it: the process
of a cell on a GPU starts afresh.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from bench.records import CellSpec

MODULE = "bench.running.server"
PRELOADED = ("torch", "torch._dynamo", "bench.running.cell")
"""Imported before the first fork; PyTorch's optimisers import its compiler at their first step."""
OF_LOADER = {"ffcv": ("ffcv",)}
"""Imported before the first fork for a cell with that loader: FFCV compiles for seconds while it is imported."""
_GIVEN_LATER = ("BENCH_", "PYTEST_")
"""Prefixes of environment variables that no import reads: a server serves cells whose other variables are equal."""
_RUN, _KILL = b"r", b"k"
_LIBRARIES = ("libtorch_cpu.", "libtorch_python.", "libc10.", "libgomp", "libstdc++.", "libc.", "libm.")
"""What a CPU's training runs in."""
_POPULATE_READ = 22
"""MADV_POPULATE_READ, of Linux 5.14 and newer."""


class CellProcess:
    """The harness's end of a cell's process.

    Attributes:
        stdout: what it prints, line by line.
    """

    def __init__(self, server: Server, stdout: IO[str]) -> None:
        self.stdout = stdout
        self._server = server
        self._status: int | None = None

    def __enter__(self) -> CellProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is None:
            self._server.kill()
            self.wait()
        self.stdout.close()

    def wait(self) -> int:
        """Wait for its end; returns its exit status, negative if a signal ended it."""
        if self._status is None:
            self._status = self._server.status()
        return self._status


class Server:
    """The harness's end of a server; it runs one cell at a time.

    Args:
        environ: its whole environment.
        log: where its standard error goes.
    """

    def __init__(self, environ: Mapping[str, str], log: IO[str]) -> None:
        self._control, theirs = socket.socketpair()
        # -P: it must import this package, not a folder of the same name in the working directory.
        command = [sys.executable, "-P", "-m", MODULE, str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], env=dict(environ), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        self._replies = self._control.makefile("r", encoding="utf-8")

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def start(self, folder: Path, cell: CellSpec, environ: Mapping[str, str], log: IO[str]) -> CellProcess:
        """Fork a process for the cell in a folder; the one before must have ended."""
        request = {
            "folder": str(folder.absolute()),
            "imports": [*PRELOADED, *OF_LOADER.get(cell.loader, ())] if cell.device == "cpu" else None,
            "cwd": str(Path.cwd()),
            "environ": dict(environ),
        }
        read, write = os.pipe()
        try:
            with contextlib.suppress(ConnectionError):  # it has died, and `status` says so
                socket.send_fds(self._control, [_RUN], [write, log.fileno()])
                self._control.sendall(json.dumps(request).encode() + b"\n")
        finally:
            os.close(write)
        return CellProcess(self, os.fdopen(read, encoding="utf-8", errors="replace"))

    def kill(self) -> None:
        """Kill the cell's process that runs now, if one does."""
        with contextlib.suppress(ConnectionError):
            self._control.sendall(_KILL)

    def status(self) -> int:
        """Wait for the end of the cell's process that runs now; its exit status, or the server's if that has died."""
        reply = ""
        with contextlib.suppress(ConnectionError):  # reset if it died before it had read the request
            reply = self._replies.readline()
        return int(reply) if reply else self._process.wait()

    def close(self) -> None:
        """End it."""
        self._replies.close()
        self._control.close()
        self._process.wait()


_servers: dict[tuple[Any, ...], Server] = {}


def start_cell(folder: Path, cell: CellSpec, environ: Mapping[str, str], log: IO[str], code: str) -> CellProcess:
    """Start the process of the cell in a folder, by a server with the same environment and code.

    Args:
        folder: the cell's folder.
        cell: the cell.
        environ: its whole environment.
        log: where its standard error goes; that of a new server too.
        code: fingerprint of the source files now; when they have changed, a new server imports them.
    """
    key = (code, *sorted(item for item in environ.items() if not item[0].startswith(_GIVEN_LATER)))
    server = _servers.get(key)
    if server is None or not server.alive:
        close_servers()
        server = _servers[key] = Server(environ, log)
    return server.start(folder, cell, environ, log)


@atexit.register
def close_servers() -> None:
    """End all servers of this process."""
    while _servers:
        _servers.popitem()[1].close()


def serve(control: socket.socket) -> None:
    """Fork a process for each request, one after the other, until the harness has closed its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the harness, which ends this process
    lines = control.makefile("rb", buffering=0)
    while True:
        kind, descriptors, *_ = socket.recv_fds(control, 1, 2)
        if not kind:
            return
        if kind == _KILL:  # it crossed the status
            continue
        request = json.loads(lines.readline())
        for name in request["imports"] or ():
            with contextlib.suppress(ImportError):  # the cell says what is missing
                import_module(name)
        gc.collect()
        gc.freeze()  # what is imported stays: no later search for garbage need look at it, or copy its pages
        process = os.fork()
        if process == 0:
            lines.close()
            control.close()
            _run(request, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        status = _ended(process, control)
        if status is None:
            return
        control.sendall(f"{status}\n".encode())


def _ended(process: int, control: socket.socket) -> int | None:
    """Wait until a cell's process has ended, kill it if asked to; None if the harness is gone."""
    descriptor = os.pidfd_open(process)
    try:
        while True:
            ready, *_ = select.select([descriptor, control.fileno()], [], [])
            if descriptor in ready:
                return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            if not control.recv(1):
                return None
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)


def _run(request: dict[str, Any], output: int, log: int) -> NoReturn:
    """Become the process of a cell: run it, and end."""
    status = 1
    try:
        os.dup2(output, 1)
        os.dup2(log, 2)
        os.close(output)
        os.close(log)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(request["environ"])
        os.chdir(request["cwd"])
        if request["imports"] is None:
            os.execv(sys.executable, [sys.executable, "-P", "-m", "bench.running.cell", request["folder"]])  # noqa: S606
        from bench.running import cell

        _map_libraries()
        status = cell.main(Path(request["folder"]))
    except BaseException:  # noqa: BLE001 -- whatever it is, this process must not return into the server's loop
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()  # noqa: SLF001 -- of libraries; the rest of the interpreter's end takes a second
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)


def _map_libraries() -> None:
    """Map all pages of the libraries that training runs in, where the kernel can.

    A forked process has none of them mapped, though they are in memory. Each one that training touches first would
    count as memory that training takes.
    """
    advise = getattr(ctypes.CDLL(None), "madvise", None)
    if advise is None:
        return
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        extent, access, _, _, _, *path = line.split(maxsplit=5)
        if path and access.startswith("r") and Path(path[0]).name.startswith(_LIBRARIES):
            start, end = (int(address, 16) for address in extent.split("-"))
            advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _POPULATE_READ)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
