"""Two tiers of tests: with --quick those marked `slow` are left out. What has become slow is named at the end."""

import gc
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

SECONDS = 5.0
"""A test that takes longer, with what its fixtures take, should be shortened or marked `slow`."""

LONGEST = ("test_wheel.py", "test_slurm.py")


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="leave out the tests marked slow")


def pytest_configure(config):
    """The processes that tests start may be forked by one that has imported everything, see `warm.py`."""
    if not hasattr(config, "workerinput"):
        folder = Path(tempfile.mkdtemp())
        os.environ["BENCH_TEST_SERVER"] = str(folder / "socket")
        os.environ["BENCH_TEST_WRITERS"] = str(folder / "writers")
        os.environ["BENCH_TEST_RUN"] = str(os.getpid())


@pytest.fixture(autouse=True, scope="session")
def _warm():
    import warm
    import warm_writer

    from bench.data import loaders
    from bench.data.ffcv import beton_writer
    from bench.running import server

    server.Server = warm.Server
    if loaders.is_installed():
        python = warm_writer.program(os.environ[warm_writer.PLACE])
        beton_writer.sys = SimpleNamespace(executable=python, path=sys.path)


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


def pytest_collection_modifyitems(config, items):
    slow = [item for item in items if item.get_closest_marker("slow")]
    if not config.getoption("--quick"):
        # The longest first: at the end of the run no process waits for one that has just begun such a test.
        longest = [item for item in slow if item.path.name in LONGEST]
        items[:] = [*longest, *(item for item in items if item not in set(longest))]
        return
    items[:] = [item for item in items if item not in set(slow)]
    config.hook.pytest_deselected(items=slow)


def pytest_collection_finish():
    """What is there before the first test stays to the end: no search for garbage need look at it again."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter):
    seconds = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and "slow" not in report.keywords:
                seconds[report.nodeid] += report.duration
    over = [(test, spent) for test, spent in seconds.most_common() if spent > SECONDS]
    if over:
        terminalreporter.section(f"tests over {SECONDS:g} s that are not marked slow")
        for test, spent in over:
            terminalreporter.write_line(f"{spent:6.1f} s {test}")
