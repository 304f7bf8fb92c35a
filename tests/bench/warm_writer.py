"""FFCV's writer, started at once: one process of a test run has imported FFCV as writers do, and forks them.

The harness starts `python -m bench.data.ffcv.beton_writer FOLDER OUT`; here `python` is a script that hands its
arguments and its standard streams over, and ends as the forked writer does.
"""

import contextlib
import json
import os
import socket
import sys
from pathlib import Path

PLACE = "BENCH_TEST_WRITERS"
"""Environment variable with the socket's path; beside it is the script."""
CLIENT = """
import json, os, socket, sys
place, arguments = sys.argv[1], sys.argv[2:]
with socket.socket(socket.AF_UNIX) as to:
    to.connect(place)
    socket.send_fds(to, [json.dumps(arguments[2:]).encode()], [0, 1, 2])
    sys.exit(int(to.recv(8) or b"1"))
"""


def serve(place, owner):
    """Import FFCV, then fork a writer for every connection, until the test run has ended."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{place}.new")
    listener.listen()
    os.rename(f"{place}.new", place)  # noqa: PTH104 -- nobody connects before it listens
    listener.settimeout(2)
    import ffcv.fields
    import ffcv.writer  # noqa: F401

    from bench.data.ffcv import beton_writer

    while Path(f"/proc/{owner}").exists():
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        with contextlib.suppress(TimeoutError):
            connection, _ = listener.accept()
            connection.settimeout(None)
            if os.fork() == 0:
                listener.close()
                _write(connection, beton_writer._main)
            connection.close()


def _write(connection, main):
    status = 1
    try:
        said, streams, _, _ = socket.recv_fds(connection, 1 << 16, 3)
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        main(*json.loads(said))
        status = 0
    except BaseException:  # noqa: BLE001 -- whatever it is, this process must not return into the server's loop
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        with contextlib.suppress(OSError):
            connection.sendall(str(status).encode())
        os._exit(status)


def program(place):
    """The script beside the socket, for a server that is started with the first writer of a test run."""
    path = Path(place).with_name("writer")
    if not path.exists():
        start = f'"{sys.executable}" "{__file__}" "{place}" "$BENCH_TEST_RUN" </dev/null >/dev/null 2>&1 &'
        wait = f'until [ -S "{place}" ]; do sleep 0.05; done'
        call = f'exec "{sys.executable}" -ISc \'{CLIENT}\' "{place}" "$@"'
        script = f'#!/bin/sh\nif mkdir "{place}.started" 2>/dev/null; then setsid {start} fi\n{wait}\n{call}\n'
        made = path.with_suffix(f".{os.getpid()}")
        made.write_text(script)
        made.chmod(0o755)
        made.rename(path)
    return str(path)


if __name__ == "__main__":
    serve(*sys.argv[1:])
