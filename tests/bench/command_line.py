"""Helpers for tests of the real command line; the fixture `bench` runs it in a folder of its own."""

import contextlib
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import warm

from bench import records
from bench.cli import app as cli
from bench.errors import UserError
from bench.measure import probe, race
from bench.running import local
from bench.running import process as processes

SUITE = """
tasks = ["digits"]
epochs = 3
batch_size = 64
loader = "memory"
[methods.asge]
plan = "8,M,16"
[methods.backprop]
plan = "8,M,16"
"""


RUN = ("run", "mine.toml", "--threads", "1", "--no-plots", "--no-report", "--format", "json")


def command_line(folder):
    """Return a function that runs the command line in a folder with `mine.toml`."""
    (folder / "mine.toml").write_text(SUITE)
    environment = {
        **os.environ,
        "BENCH_CACHE": str(folder / "cache"),
        "BENCH_REFERENCE": str(folder / "reference"),
        "COLUMNS": "200",
    }
    environment.pop("BENCH_DATA", None)

    def run(*arguments, **changes):
        command = [sys.executable, "-m", "bench", *arguments]
        return subprocess.run(
            command,
            cwd=folder,
            env={**environment, **changes},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def inside(*arguments, cells_too=False, but=()):
        """The same in this process, which has already imported everything; cells are processes, unless `cells_too`.

        With `cells_too`, only cells of the methods in `but` are processes.
        """
        said, warned, here, threads = io.StringIO(), io.StringIO(), Path.cwd(), torch.get_num_threads()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(warned):
            for name in ("BENCH_CACHE", "BENCH_REFERENCE", "COLUMNS"):
                patch.setenv(name, environment[name])
            patch.delenv("BENCH_DATA", raising=False)
            if cells_too:
                run_cells_here(patch, but)
            os.chdir(folder)
            try:
                status = cli.main(list(arguments))
            finally:
                os.chdir(here)
                torch.set_num_threads(threads)
        return SimpleNamespace(returncode=status, stdout=said.getvalue(), stderr=warned.getvalue())

    run.folder = folder
    run.environment = environment
    run.inside = inside
    return run


def run_mine(bench, *arguments, cells_too=False):
    return bench.inside(*RUN, *arguments, cells_too=cells_too)


def run_cells_here(patch, but=()):
    """Run cells in this process with a shortened speed measurement: for tests of neither.

    Cells of the methods in `but` are processes all the same.
    """
    in_its_own = local._run

    def run(spec, options, work, *others):
        if spec.method in but:
            return in_its_own(spec, options, work, *others)
        folder = options.runs / spec.id
        if not (folder / records.CELL_FILE).is_file():
            records.write(folder / records.CELL_FILE, spec)
        threads = torch.get_num_threads()
        try:
            record = processes.run(folder, records.CellOptions.of(options), lambda event: work.event(spec, event))
        except UserError as error:
            return local.Outcome(spec, None, reused=False, problem=str(error), bad_input=True)
        finally:
            torch.set_num_threads(threads)
        return local.Outcome(spec, record, reused=False, problem=record.error)

    patch.setattr(local, "_run", run)
    for module in (probe, race):
        patch.setattr(module, "SEGMENT_SECONDS", 0.01)


def start_mine(bench, *arguments, epoch=1):
    """Start a harness that runs the suite in the background; wait until its cell has done an epoch."""
    harness = warm.Process([*RUN, *arguments], cwd=bench.folder, env=bench.environment)
    for line in harness.stderr:
        if f"epoch {epoch}/" in line:
            break
    [cell] = [process for process in processes_in(bench.folder) if process != harness.pid]
    return harness, cell


def accuracies(done):
    return {(row["method"], row["strategy"]): row["accuracy"] for row in json.loads(done.stdout)}


def assert_one_sentence(done, *words):
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr


def processes_in(folder):
    """The processes whose working directory is a folder."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            found += [int(link.parent.name)] if link.readlink() == folder else []
    return found
