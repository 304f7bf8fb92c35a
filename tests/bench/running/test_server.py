"""The process that forks the cells' processes: what they share, how they end, and when another one takes its place."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from factories import cell

from bench.running import server

CELL = "bench.running.process"


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a process whose cell module is a stand-in: it does what the file `todo.py` in its folder says."""
    stand_in = tmp_path / "path" / "stand_in.py"
    stand_in.parent.mkdir()
    stand_in.write_text(
        "import pathlib\ndef main(folder):\n    return eval((pathlib.Path(folder) / 'todo.py').read_text())\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(stand_in.parent)}
    module = Path(server.__file__).read_text().replace(CELL, "stand_in")
    afresh = "import stand_in, sys; sys.exit(stand_in.main(sys.argv[1]))"
    module = module.replace('"-m", request["module"]', f'"-c", "{afresh}"')
    (stand_in.parent / "light_server.py").write_text(module)
    monkeypatch.setattr(server, "MODULE", "light_server")
    monkeypatch.setattr(server, "CELL", "stand_in")
    monkeypatch.setattr(server, "PRELOADED", ("stand_in",))

    def started(todo, *, code="", device="cpu", **changes):
        (tmp_path / "todo.py").write_text(todo)
        with (tmp_path / "log.txt").open("a") as log:
            return server.start_cell(tmp_path, cell(device=device), {**environ, **changes}, log, code)

    yield started
    server.close_servers()


def said(process):
    with process:
        return process.stdout.read().strip(), process.wait()


PARENT = "print(__import__('os').getppid()) or 0"


def test_cells_are_forked_by_one_process(start):
    one, other = said(start(PARENT)), said(start(PARENT))
    assert one == other
    assert one[1] == 0


@pytest.mark.parametrize("change", [{"code": "new"}, {"OMP_NUM_THREADS": "7"}])
def test_other_code_and_what_imports_read_need_another(start, change):
    assert said(start(PARENT))[0] != said(start(PARENT, **change))[0]
    assert len(server._servers) == 1


def test_a_variable_of_this_project_reaches_the_cell_and_needs_no_other(start):
    assert said(start(PARENT))[0] == said(start(PARENT, BENCH_TRIES="3"))[0]
    assert said(start("print(__import__('os').environ['BENCH_TRIES']) or 0", BENCH_TRIES="5")) == ("5", 0)


def test_the_cell_is_where_the_harness_is(start, tmp_path, monkeypatch):
    said(start("0"))
    monkeypatch.chdir(tmp_path / "path")
    assert said(start("print(__import__('os').getcwd()) or 0"))[0] == str(tmp_path / "path")


def test_its_exit_status_and_its_traceback(start, tmp_path):
    assert said(start("3")) == ("", 3)
    assert said(start("1 / 0")) == ("", 1)
    assert "ZeroDivisionError" in (tmp_path / "log.txt").read_text()


def test_a_signal_is_its_status_and_the_next_cell_runs(start):
    assert said(start("__import__('os').kill(__import__('os').getpid(), 9)")) == ("", -signal.SIGKILL)
    assert said(start("0")) == ("", 0)


def test_leaving_early_kills_it(start):
    with start("print(__import__('os').getpid(), flush=True) or __import__('time').sleep(100)") as process:
        pid = int(process.stdout.readline())
    assert not Path(f"/proc/{pid}").exists()
    assert process.wait() == -signal.SIGKILL
    assert said(start("0")) == ("", 0)


def test_a_cell_whose_end_crosses_the_kill(start):
    for _ in range(20):
        with start("0"):
            pass
    assert said(start("5")) == ("", 5)


def test_a_server_that_is_killed_is_replaced(start):
    parent, _ = said(start(PARENT))
    os.kill(int(parent), signal.SIGKILL)
    [one] = server._servers.values()
    one._process.wait()
    assert said(start("0")) == ("", 0)


def test_a_server_that_is_killed_meanwhile_is_what_ended_the_cell(start):
    with start(PARENT.replace("or 0", "or __import__('time').sleep(1)").replace("())", "(), flush=True)")) as process:
        os.kill(int(process.stdout.readline()), signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


def test_a_server_that_cannot_import_leaves_the_reason_in_the_log(start, tmp_path):
    status = said(start("0", PYTHONPATH=str(tmp_path / "nowhere")))[1]
    assert status == 1
    assert "light_server" in (tmp_path / "log.txt").read_text()


def test_it_ends_with_its_harness(tmp_path):
    harness = f"""
import os, sys
from pathlib import Path
from bench.running import server
with open({str(tmp_path / "log.txt")!r}, "w") as log:
    one = server.Server(os.environ, log)
print(one._process.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", harness], capture_output=True, text=True, check=False)
    pid = json.loads(done.stdout)
    for _ in range(300):
        if not Path(f"/proc/{pid}").exists() or "(zombie)" in Path(f"/proc/{pid}/status").read_text():
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the server goes on without its harness")


def test_on_a_gpu_it_starts_afresh_and_is_the_same_process(start):
    told = "print(__import__('os').getppid(), 'server' in ' '.join(__import__('sys').argv)) or 4"
    (parent, server_in_argv), status = said(start(told, device="cuda"))[0].split(), said(start(told, device="cuda"))[1]
    assert (server_in_argv, status) == ("False", 4)
    assert said(start(PARENT))[0] == parent


MAPPED = """
import os, pathlib, sys
import torch
from bench.running import server

def mapped():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))

process = os.fork()
if process == 0:
    before = mapped()
    server._map_libraries()
    print(mapped() - before, flush=True)
    os._exit(0)
os.waitpid(process, 0)
"""


def test_the_libraries_of_training_are_mapped_before_memory_is_measured():
    """Their pages would count as memory that training takes: tens of megabytes."""
    done = subprocess.run([sys.executable, "-c", MAPPED], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 100_000  # kB; PyTorch's library alone has 300,000
