import inspect
import multiprocessing
import multiprocessing.util
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import torch
from image_boxes import write_pictures

from bench.data.batches.plan import Batch, Preparation
from bench.data.batches.torch_loader import TorchLoader
from bench.data.sets import folders
from bench.data.sets.splits import Split
from bench.data.sets.tasks import Task
from bench.errors import LoaderError

CPU = torch.device("cpu")
# PyTorch's handler of a worker's death raises wherever the process is: also while PyTorch closes files of its own,
# where nothing can catch it, and pytest blames whichever test comes next.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function _TemporaryFileCloser.__del__:pytest.PytestUnraisableExceptionWarning"
)


def _loader(task: Task, part: Split, workers: int = 1) -> TorchLoader:
    prepare = Preparation.of(task, [], CPU)
    return TorchLoader(part, prepare, batch_size=2, seed=0, shuffle=False, workers=workers)


# Where a worker dies while it hands over a batch, PyTorch opens files to see whether it may, and leaves them to Python.
PYTORCH_TRIES = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@PYTORCH_TRIES
def test_a_killed_worker_is_an_error_and_leaves_no_process(colours: Task, colour_split: Split) -> None:
    epoch = _loader(colours, colour_split, workers=2).epoch(0)
    next(epoch)
    for child in multiprocessing.active_children():
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(LoaderError, match=r"a worker of loader 'torch' died( at .*)?: DataLoader worker"):
        list(epoch)
    assert multiprocessing.active_children() == []


@pytest.fixture
def locked(colours: Task, colour_split: Split) -> Iterator[Batch]:
    """An epoch, the lock of whose event is held by a process that has died."""
    epoch = _loader(colours, colour_split, workers=2).epoch(0)
    next(epoch)
    event = inspect.getgeneratorlocals(epoch)["iterator"]._workers_done_event._event  # type: ignore[arg-type]

    def die() -> None:
        event._cond.acquire()
        os._exit(1)

    looking = multiprocessing.get_context("fork").Process(target=die)
    looking.start()
    looking.join()
    return epoch


def test_a_lock_that_was_lost_with_a_worker_does_not_hold_up_the_end(locked: Generator[Batch]) -> None:
    locked.close()
    assert multiprocessing.active_children() == []


def test_a_lock_that_was_lost_with_a_worker_does_not_hold_up_the_error(locked: Generator[Batch]) -> None:
    for child in multiprocessing.active_children():
        child.kill()
    with pytest.raises(LoaderError, match="a worker of loader 'torch' died"):
        list(locked)
    assert multiprocessing.active_children() == []


@PYTORCH_TRIES
def test_workers_that_are_killed_leave_no_folder_behind(
    colours: Task, colour_split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of its own, for processes of other tests make theirs in the usual place; short, for it holds sockets.
    own = tempfile.mkdtemp()
    multiprocessing.util.Finalize(None, shutil.rmtree, args=(own, True), exitpriority=-200)  # after this process's own
    monkeypatch.setattr(tempfile, "tempdir", own)
    monkeypatch.delitem(multiprocessing.current_process()._config, "tempdir", raising=False)  # type: ignore[attr-defined]
    here: list[str] = []  # folders that this process makes, its other threads too: workers are forked and add to copies
    make = tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "mkdtemp", lambda *args, **options: here.append(make(*args, **options)) or here[-1])  # type: ignore[func-returns-value]
    epoch = _loader(colours, colour_split, workers=2).epoch(0)
    next(epoch)
    for child in multiprocessing.active_children():
        child.kill()
    with pytest.raises(LoaderError):
        list(epoch)
    mine = Path(multiprocessing.util.get_temp_dir())
    assert str(mine) in here
    of_processes = Path(own).glob("pymp-*")  # libraries have files of their own there, now and then
    assert [folder for folder in of_processes if str(folder) not in here or folder == mine] == [mine]


def test_a_silent_worker_is_an_error_that_names_its_sample(
    colours: Task, colour_split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(position: int) -> int:
        if position == 5:
            signal.pause()
        return position

    monkeypatch.setattr("bench.data.batches.heartbeat.SILENCE_S", 1.5)
    numbered = Split(colour_split.images, _Waits(colour_split.labels, wait), colour_split.indices, "train")  # type: ignore[arg-type]
    with pytest.raises(LoaderError, match=r"silent for \d\.\d seconds at sample 5 of the train set"):
        list(_loader(colours, numbered).epoch(0))
    assert multiprocessing.active_children() == []


class _Waits:
    """Labels whose reading does something first."""

    def __init__(self, labels: torch.Tensor, first: object) -> None:
        self.labels = labels
        self.first = first

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, position: int) -> torch.Tensor:
        return self.labels[self.first(position)]  # type: ignore[operator]


def test_a_sample_that_cannot_be_read_is_named(colours: Task, colour_split: Split) -> None:
    assert isinstance(colour_split.images, torch.Tensor)
    short = Split(colour_split.images[:30], colour_split.labels, colour_split.indices, "train")
    with pytest.raises(LoaderError, match=r"^IndexError: .* at sample 30 of the train set$"):
        list(_loader(colours, short).epoch(0))


def test_a_damaged_picture_is_named(tmp_path: Path, colours: Task) -> None:
    folder = write_pictures(tmp_path, size=(5, 6))
    images = folders.read(tmp_path, folder).train_images
    damaged = tmp_path / "pictures" / "train" / "class1" / "3.JPEG"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    part = Split(images, torch.zeros(24, dtype=torch.int64), torch.arange(24), "train")
    with pytest.raises(LoaderError, match=f"{damaged} cannot be decoded: .*; replace the file"):
        list(_loader(colours, part).epoch(0))


def test_nothing_of_pytorchs_own_randomness_is_used(colours: Task, colour_split: Split) -> None:
    state = torch.get_rng_state()
    list(_loader(colours, colour_split).epoch(0))
    assert torch.equal(torch.get_rng_state(), state)


def test_closed_loader(colours: Task, colour_split: Split) -> None:
    loader = _loader(colours, colour_split)
    loader.close()
    with pytest.raises(LoaderError, match="closed"):
        list(loader.epoch(0))
