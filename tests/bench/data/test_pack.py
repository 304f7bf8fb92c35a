from dataclasses import replace
from pathlib import Path

import pytest
from image_boxes import write_pictures

from bench.data import pack
from bench.data.ffcv.packing import Packing
from bench.data.loaders import _ffcv_works
from bench.data.sets import folders
from bench.data.sets.tasks import DIGITS, Task
from bench.errors import UserError
from bench.inputs import cache_root

pytestmark = pytest.mark.skipif(not _ffcv_works(), reason="needs FFCV, which is not installed")


def _silent(_what: str, _done: int, _total: int) -> None:
    """Ignore progress."""


@pytest.mark.slow
def test_a_task_in_memory_has_a_file_for_each_split() -> None:
    assert pack.verify(DIGITS, None) == []
    paths = pack.pack(DIGITS, None, None, _silent)
    assert [path.name.rsplit("-", 1)[0] for path in paths] == ["digits-train", "digits-train", "digits-test"]
    assert [status.detail for status in pack.verify(DIGITS, None)] == ["1097 samples", "200 samples", "500 samples"]
    paths[1].write_bytes(b"short")
    assert [status.status for status in pack.verify(DIGITS, None)] == ["ok", "damaged", "ok"]


def test_small_arrays_have_no_packing() -> None:
    with pytest.raises(UserError, match="images of digits are stored as arrays"):
        pack.pack(DIGITS, None, Packing(), _silent)


@pytest.mark.slow
def test_a_folder_of_images_has_two_files(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path)
    task: Task = replace(DIGITS, name="pictures", classes=3, read=lambda _: folders.read(tmp_path, folder))
    paths = pack.pack(task, None, Packing(share=0), _silent)
    assert paths == [cache_root() / "betons" / f"pictures-{source}-raw.beton" for source in ("train", "test")]
    assert [(status.path, status.status) for status in pack.verify(task, None)] == [
        ("pictures-train-raw.beton", "ok"),
        ("pictures-test-raw.beton", "ok"),
    ]
    (tmp_path / "pictures/val/class0/0.JPEG").rename(tmp_path / "pictures/val/class0/x.JPEG")
    assert [status.detail for status in pack.verify(task, None)] == [
        "24 samples",
        "stale: its sources have changed since it was written",
    ]
