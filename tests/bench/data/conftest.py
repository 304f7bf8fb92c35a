from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench.data.sets.arrays import Arrays
from bench.data.sets.splits import Split
from bench.data.sets.tasks import Task


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the user's files or writes among them."""
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def keep_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def betons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache of FFCV files for all tests of a process: writing one takes seconds."""
    return tmp_path_factory.mktemp("cache")


def _unreadable(data_dir: Path | None) -> Arrays:
    raise AssertionError(f"no test reads this task from {data_dir}")


@pytest.fixture(scope="session")
def colours() -> Task:
    """Three channels that differ in mean and deviation, so that mixing them up shows."""
    return Task(
        name="colours",
        title="colours",
        shape=(3, 6, 5),
        classes=4,
        mean=(0.2, 0.5, 0.7),
        std=(0.1, 0.2, 0.4),
        validation_size=8,
        test_size=10,
        read=_unreadable,
    )


@pytest.fixture(scope="session")
def colour_split(colours: Task) -> Split:
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (53, *colours.shape), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, colours.classes, (53,), generator=generator)
    return Split(images, labels, torch.arange(53), "train")
