"""A loader leaves nothing behind after an epoch, an error or Ctrl-C; counted for every kind."""

import gc
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from bench.data.loaders import Loader, _ffcv_works, make_loader
from bench.data.sets.splits import Split
from bench.data.sets.tasks import Task

KINDS = [
    "memory",
    "torch",
    pytest.param(
        "ffcv",
        marks=[
            pytest.mark.skipif(not _ffcv_works(), reason="needs FFCV, which is not installed"),
            pytest.mark.slow,  # its compiler takes seconds
        ],
    ),
]


class Held(NamedTuple):
    """Resources of a process: numbers, and the names of threads and shared memory."""

    threads: list[str]
    processes: int
    handles: int
    shared: list[str]
    torch_threads: int


def held() -> Held:
    gc.collect()
    return Held(
        sorted(thread.name for thread in threading.enumerate()),
        len(multiprocessing.active_children()),
        len(os.listdir("/proc/self/fd")),  # noqa: PTH208 -- fewer handles of its own
        shared_memory(),
        torch.get_num_threads(),
    )


def shared_memory() -> list[str]:
    """Names of the machine's shared memory, without those mapped by other processes, such as a concurrent test."""
    names = {file.name for file in Path("/dev/shm").iterdir() if "torch" in file.name or "psm" in file.name}  # noqa: S108
    ours = {os.getpid(), *(child.pid for child in multiprocessing.active_children())}
    for maps in Path("/proc").glob("[0-9]*/maps"):
        if int(maps.parent.name) not in ours:
            with suppress(OSError):  # ended meanwhile, or another user's
                names -= set(re.findall(r"/dev/shm/(\S+)", maps.read_text()))  # noqa: S108
    return sorted(names)


def left_over(before: Held) -> list[str]:
    """Resources that are held now and were not before."""
    now = held()
    threads = Counter(now.threads) - Counter(before.threads)
    shared = Counter(now.shared) - Counter(before.shared)
    counts = [
        f"{now_has - had} {name}"
        for name, had, now_has in [
            ("processes", before.processes, now.processes),
            ("handles", before.handles, now.handles),
        ]
        if now_has > had
    ]
    return [*threads.elements(), *shared.elements(), *counts]


def assert_nothing_left(before: Held) -> None:
    """Wait a few seconds: the thread that feeds a queue to workers is told to end, but not waited for."""
    deadline = time.monotonic() + 5
    while (left := left_over(before)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
    assert torch.get_num_threads() == before.torch_threads


def test_shared_memory_of_another_process_is_not_counted_and_what_a_dead_one_left_is() -> None:
    code = """if True:
        from multiprocessing import resource_tracker, shared_memory

        held = shared_memory.SharedMemory(create=True, size=1)
        resource_tracker.unregister(held._name, "shared_memory")
        print(held.name, flush=True)
        input()
    """
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        name = other.stdout.readline().strip()
        segment = Path("/dev/shm") / name  # noqa: S108
        try:
            assert segment.exists()
            assert name not in shared_memory()
            other.communicate("\n")
            assert name in shared_memory()
        finally:
            segment.unlink(missing_ok=True)


@pytest.fixture(params=KINDS)
def loader(request: pytest.FixtureRequest, colours: Task, colour_split: Split, betons: Path) -> Iterator[Loader]:
    made = make_loader(
        request.param,
        colours,
        colour_split,
        batch_size=4,
        seed=0,
        shuffle=True,
        augmentation=["crop", "flip"],
        device=torch.device("cpu"),
        cache_dir=betons,
        workers=2,
    )
    # Imports and what is made once for all: multiprocessing's resource tracker, for one.
    list(made.epoch(0))
    yield made
    made.close()


class _Own(Exception):  # noqa: N818
    """An error raised by the caller."""


@pytest.mark.parametrize("how", [_Own, KeyboardInterrupt])
def test_an_epoch_that_an_error_ends_leaves_nothing(loader: Loader, how: type[BaseException]) -> None:
    before = held()

    def train() -> None:
        for step, _ in enumerate(loader.epoch(1)):
            if step == 2:
                raise how

    for _ in range(3):
        with pytest.raises(how):
            train()
    assert_nothing_left(before)
    assert len(list(loader.epoch(1))) == len(loader)
    assert_nothing_left(before)


def test_a_closed_loader_leaves_nothing(loader: Loader, colours: Task, colour_split: Split, betons: Path) -> None:
    before = held()
    for _ in range(3):
        other = make_loader(
            loader.kind,
            colours,
            colour_split,
            batch_size=4,
            seed=0,
            shuffle=True,
            augmentation=(),
            device=torch.device("cpu"),
            cache_dir=betons,
        )
        epoch = other.epoch(0)
        next(epoch)
        del epoch
        other.close()
        del other
    assert_nothing_left(before)


PROGRAM = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background has it ignored
import torch
from bench.data import loaders
from bench.data.sets import splits, tasks
task = tasks.get_task("digits")
part = splits.split(task, task.read(None)).train
loader = loaders.make_loader(sys.argv[1], task, part, batch_size=2, seed=0, shuffle=True, augmentation=["flip"],
    device=torch.device("cpu"), cache_dir=Path(sys.argv[2]), workers=2)
while True:
    for _ in loader.epoch(0):
        print("step", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_ends_a_process_and_all_that_it_has_started(kind: str, betons: Path) -> None:
    before = held()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, kind, betons],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline() == b"step\n"
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert said.rstrip().endswith(b"KeyboardInterrupt")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert_nothing_left(before)
