import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.ffcv import beton
from bench.data.ffcv.beton_writer import write_pixels
from bench.data.loaders import _ffcv_works
from bench.data.sets.splits import Split
from bench.data.sets.tasks import Task
from bench.errors import LoaderError, UserError

needs_ffcv = pytest.mark.skipif(not _ffcv_works(), reason="needs FFCV, which is not installed")


@pytest.mark.slow
@needs_ffcv
def test_a_damaged_file_is_rebuilt_byte_for_byte(
    colours: Task, colour_split: Split, betons: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = beton.ensure_beton(colours, colour_split, betons)
    assert path.parent == betons / "betons"
    assert path.name.startswith("colours-train-")
    written = path.read_bytes()

    damaged = bytearray(written)
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    assert beton.ensure_beton(colours, colour_split, betons) == path
    assert path.read_bytes() == written

    def write(path: Path, _write: object) -> None:
        raise AssertionError(f"{path} is written again")

    monkeypatch.setattr(beton, "_write", write)
    assert beton.ensure_beton(colours, colour_split, betons) == path
    assert sorted(file.suffix for file in path.parent.glob("*colours*")) == [".beton", ".json", ".lock"]


@pytest.mark.slow
@needs_ffcv
@pytest.mark.timeout(60)
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not let one choose cores")
def test_the_writer_ends_where_there_is_a_single_core(colours: Task, colour_split: Split, tmp_path: Path) -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        assert beton.ensure_beton(colours, colour_split, tmp_path).exists()
    finally:
        os.sched_setaffinity(0, cores)


def test_files_without_manifest_and_leftovers_do_not_count(
    colours: Task, colour_split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake_writer(images: np.ndarray, labels: np.ndarray, out: Path, _progress: object) -> None:
        out.write_bytes(images.tobytes() + labels.tobytes())

    monkeypatch.setattr(beton, "write_pixels", fake_writer)
    path = beton.ensure_beton(colours, colour_split, tmp_path)
    for content in (None, "{", '{"unknown": 1}', '{"sha256": "0", "samples": 53, "format": 0}'):
        manifest = path.with_suffix(".json")
        manifest.unlink() if content is None else manifest.write_text(content)
        path.write_bytes(b"cut sho")
        leftover = path.parent / f".{path.stem}.writing-killed"
        leftover.mkdir()
        beton.ensure_beton(colours, colour_split, tmp_path)
        assert len(path.read_bytes()) == colour_split.images.numel() + 8 * 53
        assert not leftover.exists()


def test_content_key_depends_on_all_content(colour_split: Split) -> None:
    image = colour_split.images.clone()
    image[-1, -1, -1, -1] ^= 1
    label = colour_split.labels.clone()
    label[0] += 1
    variants = [
        colour_split,
        replace(colour_split, images=image),
        replace(colour_split, labels=label),
        replace(colour_split, images=colour_split.images.view(53, 3, 5, 6)),
    ]
    assert len({beton.content_key(variant) for variant in variants}) == 4
    assert beton.content_key(colour_split) == beton.content_key(replace(colour_split))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 3, 6, 5), torch.zeros(2, dtype=torch.int64), r"images are torch.float32 \(2, 3, 6, 5\)"),
        (
            torch.zeros(2, 3, 5, 6, dtype=torch.uint8),
            torch.zeros(2, dtype=torch.int64),
            r"expected uint8 \(2, 3, 6, 5\)",
        ),
        (
            torch.zeros(3, 3, 6, 5, dtype=torch.uint8),
            torch.zeros(2, dtype=torch.int64),
            r"expected uint8 \(2, 3, 6, 5\)",
        ),
        (torch.zeros(2, 3, 6, 5, dtype=torch.uint8), torch.zeros(2), "labels are torch.float32"),
        (torch.zeros(2, 3, 6, 5, dtype=torch.uint8), torch.tensor([0, 4]), "labels run from 0 to 4, expected 0 to 3"),
        (torch.zeros(2, 3, 6, 5, dtype=torch.uint8), torch.tensor([-1, 0]), "labels run from -1 to 0"),
    ],
)
def test_bad_samples_never_reach_the_writer(
    colours: Task, images: torch.Tensor, labels: torch.Tensor, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        beton.ensure_beton(colours, Split(images, labels, torch.arange(2), "train"), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@needs_ffcv
def test_a_worker_that_dies_ends_the_writer(tmp_path: Path) -> None:
    # Larger than a page, which FFCV's worker notices and its writer does not.
    images = np.zeros((1, 1, 2049, 1024), dtype=np.uint8)
    with pytest.raises(LoaderError, match=r"could not write 1 samples: ValueError: Tried allocating"):
        write_pixels(images, np.zeros(1, dtype=np.int64), tmp_path / "out.beton")


def test_a_writer_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.data.ffcv.beton_writer._START_S", 0.0)
    with pytest.raises(LoaderError, match="writing 1 samples, made no progress in 0 seconds"):
        write_pixels(np.zeros((1, 1, 2, 2), dtype=np.uint8), np.zeros(1, dtype=np.int64), tmp_path / "out.beton")


WRITES = """
import os, signal, sys
from pathlib import Path
import numpy as np
from bench.data.ffcv.beton_writer import write_pixels

def kill(done):
    if done:
        os.kill(os.getpid(), signal.SIGKILL)

write_pixels(np.zeros((20_000, 1, 64, 64), np.uint8), np.zeros(20_000, np.int64), Path(sys.argv[1]), kill)
"""


@pytest.mark.slow
@needs_ffcv
def test_no_writer_outlives_a_process_that_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "out.beton"
    done = subprocess.run([sys.executable, "-c", WRITES, out], check=False)
    assert done.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while left := _running_on(out):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.1)
    (tmp_path / "images.npy").unlink()  # large, and nobody else removes it


def _running_on(path: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found.append(process.read_bytes())
    return [command.decode() for command in found if str(path).encode() in command]
