import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.data.batches.plan import Preparation
from bench.data.batches.threads import threads_kept
from bench.data.ffcv import beton
from bench.data.ffcv.loader import FFCVLoader
from bench.data.loaders import _ffcv_works, make_loader
from bench.data.sets.splits import Split
from bench.data.sets.tasks import Task
from bench.errors import LoaderError

pytestmark = [
    pytest.mark.skipif(not _ffcv_works(), reason="needs FFCV, which is not installed"),
    pytest.mark.slow,
]


@pytest.fixture
def loader(colours: Task, colour_split: Split, betons: Path) -> Iterator[Any]:
    loader = make_loader(
        "ffcv",
        colours,
        colour_split,
        batch_size=4,
        seed=0,
        shuffle=True,
        augmentation=[],
        device=torch.device("cpu"),
        cache_dir=betons,
    )
    yield loader
    loader.close()


def _replace_stage(loader: Any, stage: object) -> None:
    """Let FFCV's worker run ``stage`` instead of its compiled decoders."""
    loader._pipeline._loader.code = ([(stage, [])], [])


def test_a_worker_that_dies_is_an_error_with_its_cause(loader: Any) -> None:
    def fail(batch_indices: Any, **_arguments: object) -> None:
        batch_indices.heartbeat.beat(int(batch_indices.plan.positions[0]))
        raise ValueError("cannot decode")

    _replace_stage(loader, fail)
    said = r"worker died at sample \d+ of the train set, read from .*: cannot decode"
    with pytest.raises(LoaderError, match=said) as caught:
        list(loader.epoch(0))
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_worker_that_hangs_is_an_error(loader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(**_arguments: object) -> tuple[()]:
        released.wait(30)
        return ()

    _replace_stage(loader, hang)
    monkeypatch.setattr("bench.data.batches.heartbeat.SILENCE_S", 1.5)
    monkeypatch.setattr("bench.data.ffcv.pipeline._STOP_S", 0.0)
    try:
        with pytest.raises(LoaderError, match=r"silent for \d\.\d seconds at its first sample"):
            list(loader.epoch(0))
    finally:
        released.set()


def test_an_epoch_left_early_leaves_no_thread(loader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # So that there is more to read than a worker reads ahead.
    monkeypatch.setattr("bench.data.batches.plan.TOGETHER_AT_MOST", 1)
    before = set(threading.enumerate())  # one of another test may be about to end
    epoch = loader.epoch(0)
    next(epoch)
    assert len(set(threading.enumerate()) - before) == 1
    epoch.close()
    assert set(threading.enumerate()) <= before
    assert len(list(loader.epoch(0))) == len(loader)


def test_the_worker_has_one_thread_of_pytorch_and_the_caller_all(loader: Any) -> None:
    seen = []

    def look(batch_indices: Any, **arguments: Any) -> Any:
        seen.append(torch.get_num_threads())
        return decode(batch_indices=batch_indices, **arguments)

    (decode, outputs), *others = loader._pipeline._loader.code[0]
    loader._pipeline._loader.code = ([(look, outputs), *others], loader._pipeline._loader.code[1])
    with threads_kept():
        torch.set_num_threads(2)
        before = torch.__config__.parallel_info()  # type: ignore[no-untyped-call]
        for _ in loader.epoch(0):
            assert torch.__config__.parallel_info() == before  # type: ignore[no-untyped-call]
    assert set(seen) == {1}


def test_two_epochs_at_once_do_not_mix(loader: Any) -> None:
    alone = [labels for _, labels in loader.epoch(2)]
    together = [labels for (_, labels), _ in zip(loader.epoch(2), loader.epoch(3), strict=True)]
    assert all(map(torch.equal, alone, together))


def test_closed_loader(loader: Any) -> None:
    loader.close()
    with pytest.raises(LoaderError, match="closed"):
        list(loader.epoch(0))


@pytest.mark.slow
def test_a_file_that_was_cut_is_named(colours: Task, colour_split: Split, tmp_path: Path) -> None:
    path = beton.ensure_beton(colours, colour_split, tmp_path)
    prepare = Preparation.of(colours, [], torch.device("cpu"))

    def opened() -> FFCVLoader:
        return FFCVLoader(path, colour_split, prepare, batch_size=4, seed=0, shuffle=False)

    loader = opened()
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(LoaderError, match=f"{path} has changed while it was in use"):
        list(loader.epoch(0))
    for size in (path.stat().st_size, 1 << 21, 5000, 10, 0):
        os.truncate(path, size)
        with pytest.raises(LoaderError, match=f"FFCV cannot open {path}"):
            opened()


def test_a_file_of_other_samples_is_refused(colours: Task, colour_split: Split, betons: Path) -> None:
    path = beton.ensure_beton(colours, colour_split, betons)
    prepare = Preparation.of(colours, [], torch.device("cpu"))
    with pytest.raises(LoaderError, match="holds 53 samples, expected 52"):
        FFCVLoader(path, colour_split, prepare, batch_size=4, seed=0, shuffle=False, file_samples=52)
