"""A process that has imported what every cell needs, and forks a process for each: importing takes seconds.

    harness ---- started once ------------------------------> server    python -m bench.running.server
       | ---- module, arguments, output, log, channel --------> | ---- forks ----> bench.running.process
       + <--- exit status, by the channel of the cell ----------+                       |
       + <--- events, by a pipe --------------------------------------------------------+

The server computes nothing, because threads do not survive a fork. It imports nothing of plug-ins, keeps no state of a
cell, and ends when its harness does, with the cells that run then. CUDA does not survive a fork either, and imports may
already touch it: the process of a cell on a GPU starts afresh.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from bench.records import CellSpec

MODULE = "bench.running.server"
CELL = "bench.running.process"
PRELOADED = ("torch", "torch._dynamo", CELL)
"""Imported before the first fork; PyTorch's optimisers import its compiler at their first step."""
OF_LOADER = {"ffcv": ("ffcv",)}
"""Imported before the first fork for a cell with that loader: FFCV compiles for seconds while it is imported."""
_GIVEN_LATER = ("BENCH_", "PYTEST_", "CUDA_VISIBLE_DEVICES")
"""Prefixes of environment variables that no import reads: a server serves cells whose other variables are equal."""
_STOP, _KILL = b"s", b"k"
_LIBRARIES = ("libtorch_cpu.", "libtorch_python.", "libc10.", "libgomp", "libstdc++.", "libc.", "libm.")
"""What a CPU's training runs in."""
_POPULATE_READ = 22
"""MADV_POPULATE_READ, of Linux 5.14 and newer."""


class CellProcess:
    """The harness's end of a cell's process.

    Attributes:
        stdout: what it prints, line by line.
    """

    def __init__(self, server: Server, channel: socket.socket, stdout: IO[str]) -> None:
        self.stdout = stdout
        self._server = server
        self._channel = channel
        self._status: int | None = None

    def __enter__(self) -> CellProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is None:
            self.kill()
            self.wait()
        self._channel.close()
        self.stdout.close()
        self._server.ended(self)

    def stop(self) -> None:
        """Send SIGTERM to it: it ends after its current epoch, resumable."""
        self._send(_STOP)

    def kill(self) -> None:
        """Kill it."""
        self._send(_KILL)

    def wait(self) -> int:
        """Wait for its end; its exit status, negative if a signal ended it, or its server's if that has died."""
        if self._status is None:
            reply = b""
            with contextlib.suppress(ConnectionError):  # reset if the server died before it had read the request
                reply = self._channel.recv(16)
            self._status = int(reply) if reply else self._server.status()
        return self._status

    def _send(self, what: bytes) -> None:
        with contextlib.suppress(OSError):  # it has ended, or its server has
            self._channel.sendall(what)


class Server:
    """The harness's end of a server.

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
        self._running: set[CellProcess] = set()

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    @property
    def idle(self) -> bool:
        """Whether no process of a cell is running."""
        return not self._running

    def start(
        self, module: str, arguments: list[str], imports: list[str] | None, environ: Mapping[str, str], log: IO[str]
    ) -> CellProcess:
        """Fork a process that calls ``main`` of a module.

        Args:
            module: its name.
            arguments: of the call.
            imports: modules that the server imports first; None: the process starts afresh instead.
            environ: its whole environment.
            log: where its standard error goes.
        """
        request = {
            "module": module,
            "arguments": arguments,
            "imports": imports,
            "cwd": str(Path.cwd()),
            "environ": dict(environ),
        }
        channel, theirs = socket.socketpair()
        read, write = os.pipe()
        try:
            with contextlib.suppress(ConnectionError):  # it has died, and its status says so
                socket.send_fds(self._control, [b"\n"], [write, log.fileno(), theirs.fileno()])
                self._control.sendall(json.dumps(request).encode() + b"\n")
        finally:
            os.close(write)
            theirs.close()
        started = CellProcess(self, channel, os.fdopen(read, encoding="utf-8", errors="replace"))
        self._running.add(started)
        return started

    def ended(self, process: CellProcess) -> None:
        """Forget a process that has ended."""
        self._running.discard(process)

    def status(self) -> int:
        """Wait for its end; its exit status."""
        return self._process.wait()

    def close(self) -> None:
        """End it, with the processes that it has forked."""
        self._control.close()
        self._process.wait()


_servers: dict[tuple[Any, ...], Server] = {}
_one_at_a_time = threading.Lock()


def start_cell(folder: Path, cell: CellSpec, environ: Mapping[str, str], log: IO[str], code: str) -> CellProcess:
    """Start the process of the cell in a folder, by a server with the same environment and code.

    Args:
        folder: the cell's folder.
        cell: the cell.
        environ: its whole environment.
        log: where its standard error goes; that of a new server too.
        code: fingerprint of the source files now; when they have changed, a new server imports them.
    """
    imports = [*PRELOADED, *OF_LOADER.get(cell.loader, ())] if cell.device == "cpu" else None
    key = (code, *sorted(item for item in environ.items() if not item[0].startswith(_GIVEN_LATER)))
    with _one_at_a_time:
        server = _servers.get(key)
        if server is None or not server.alive:
            _close_idle()
            server = _servers[key] = Server(environ, log)
        return server.start(CELL, [str(folder.absolute())], imports, environ, log)


def _close_idle() -> None:
    for key, server in list(_servers.items()):
        if server.idle or not server.alive:
            _servers.pop(key).close()


@atexit.register
def close_servers() -> None:
    """End all servers of this process."""
    while _servers:
        _servers.popitem()[1].close()


class _Running(NamedTuple):
    """A forked process: its id, a descriptor of it, and the channel to the harness's end."""

    id: int
    descriptor: int
    channel: socket.socket


def serve(control: socket.socket) -> None:
    """Fork a process for each request, until the harness has closed its end; then kill those that run."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(ignored, signal.SIG_IGN)  # they are for the harness and for cells; it ends when the harness does
    running: set[_Running] = set()
    with selectors.DefaultSelector() as waiting:
        waiting.register(control, selectors.EVENT_READ, None)
        while True:
            for key, _ in waiting.select():
                process: _Running | None = key.data
                if process is None:
                    if not _answer(control, running, waiting):
                        for left in running:
                            _signal(left, signal.SIGKILL)
                        return
                elif process not in running:  # both its ends were ready
                    continue
                elif key.fileobj is process.channel:
                    _pass_on(process, waiting)
                else:
                    running.remove(process)
                    _report(process, waiting)


def _answer(control: socket.socket, running: set[_Running], waiting: selectors.BaseSelector) -> bool:
    """Fork the process of the next request; whether there was one."""
    byte, descriptors, *_ = socket.recv_fds(control, 1, 3)
    if not byte:
        return False
    with control.makefile("rb", buffering=0) as lines:
        text = lines.readline()
    if not text.endswith(b"\n"):
        return False
    request = json.loads(text)
    for name in request["imports"] or ():
        with contextlib.suppress(ImportError):  # the cell says what is missing
            import_module(name)
    gc.collect()
    gc.freeze()  # what is imported stays: no later search for garbage need look at it, or copy its pages
    output, log, channel = descriptors
    process = os.fork()
    if process == 0:
        for other in running:
            other.channel.close()
            os.close(other.descriptor)
        waiting.close()
        control.close()
        os.close(channel)
        _become(request, output, log)
    os.close(output)
    os.close(log)
    forked = _Running(process, os.pidfd_open(process), socket.socket(fileno=channel))
    running.add(forked)
    waiting.register(forked.channel, selectors.EVENT_READ, forked)
    waiting.register(forked.descriptor, selectors.EVENT_READ, forked)
    return True


def _pass_on(process: _Running, waiting: selectors.BaseSelector) -> None:
    """Pass on what the harness's end says to a process."""
    said = b""
    with contextlib.suppress(ConnectionError):
        said = process.channel.recv(1)
    if not said:  # nobody waits for it any more
        waiting.unregister(process.channel)
    _signal(process, signal.SIGTERM if said == _STOP else signal.SIGKILL)


def _signal(process: _Running, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(process.descriptor, number)


def _report(process: _Running, waiting: selectors.BaseSelector) -> None:
    """Report the status of a process that has ended."""
    status = os.waitstatus_to_exitcode(os.waitpid(process.id, 0)[1])
    waiting.unregister(process.descriptor)
    with contextlib.suppress(KeyError):
        waiting.unregister(process.channel)
    os.close(process.descriptor)
    with process.channel, contextlib.suppress(ConnectionError):
        process.channel.sendall(str(status).encode())


def _become(request: dict[str, Any], output: int, log: int) -> NoReturn:
    """Become the process of a request: call its module's ``main``, and end."""
    status, arguments = 1, request["arguments"]
    try:
        os.dup2(output, 1)
        os.dup2(log, 2)
        os.close(output)
        os.close(log)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for ignored in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(ignored, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(request["environ"])
        os.chdir(request["cwd"])
        if request["imports"] is None:
            os.execv(sys.executable, [sys.executable, "-P", "-m", request["module"], *arguments])  # noqa: S606
        module = import_module(request["module"])
        _map_libraries()
        status = module.main(*arguments)
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
