import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.data.sets import cifar
from bench.data.sets.files import DataFile
from bench.errors import UserError


def _text(value: bytes) -> bytes:
    return b"T" + struct.pack("<I", len(value)) + value


def _int(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _python2_pickle(images: NDArray[np.uint8], labels: list[int], coarse: list[int] | None = None) -> bytes:
    """Python 2's pickle of ``{"labels": labels, "data": images}``, and coarse labels if given, opcode by opcode."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + _int(0) + b"\x85" + _text(b"b") + b"\x87R"
        b"(" + _int(1) + _int(images.shape[0]) + _int(images.shape[1]) + b"\x86"
        b"cnumpy\ndtype\n" + _text(b"u1") + _int(0) + _int(1) + b"\x87R"
        b"("
        + _int(3)
        + _text(b"|")
        + b"NNN"
        + _int(-1)
        + _int(-1)
        + _int(0)
        + b"tb\x89"
        + _text(images.tobytes())
        + b"tb"
    )
    items = _text(b"labels") + b"](" + b"".join(map(_int, labels)) + b"e" + _text(b"data") + array
    if coarse is not None:
        items += _text(b"coarse_labels") + b"](" + b"".join(map(_int, coarse)) + b"e"
    return b"\x80\x02}(" + items + b"u."


def _put(root: Path, name: str, content: bytes) -> DataFile:
    (root / name).write_bytes(content)
    return DataFile(name, hashlib.md5(content, usedforsecurity=False).hexdigest(), len(content))


class _Plant:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path(self.path),)  # type: ignore[return-value]


def test_read_concatenates_batches(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (6, 3072), dtype=np.uint8)
    files = [_put(tmp_path, str(k), _python2_pickle(rows[2 * k : 2 * k + 2], [k, 9 - k])) for k in range(3)]
    arrays = cifar.read(tmp_path, files[:2], files[2:], label_key="labels")
    assert arrays.train_images.shape == (4, 3, 32, 32)
    assert np.array_equal(arrays.train_images.numpy().reshape(4, 3072), rows[:4])
    assert np.array_equal(arrays.test_images.numpy().reshape(2, 3072), rows[4:])
    assert arrays.train_labels.tolist() == [0, 9, 1, 8]
    assert arrays.test_labels.tolist() == [2, 7]


def test_planted_pickle_does_plant_a_file(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(_Plant(tmp_path / "planted")))  # noqa: S301 -- shows that the next tests test something
    assert (tmp_path / "planted").exists()


def test_wrong_checksum_is_never_unpickled(tmp_path: Path) -> None:
    _put(tmp_path, "batch", pickle.dumps(_Plant(tmp_path / "planted")))
    wrong = DataFile("batch", "0" * 32)
    with pytest.raises(UserError, match=f"batch is damaged .*expected md5 {'0' * 32}"):
        cifar.read(tmp_path, [wrong], [wrong], label_key="labels")
    assert not (tmp_path / "planted").exists()


def test_even_a_right_checksum_runs_no_code(tmp_path: Path) -> None:
    file = _put(tmp_path, "batch", pickle.dumps(_Plant(tmp_path / "planted")))
    with pytest.raises(pickle.UnpicklingError, match="does not belong in a CIFAR batch"):
        cifar.read(tmp_path, [file], [file], label_key="labels")
    assert not (tmp_path / "planted").exists()


def test_superclasses_are_those_of_the_data(tmp_path: Path) -> None:
    rows = np.zeros((2, 3072), dtype=np.uint8)
    file = _put(tmp_path, "batch", _python2_pickle(rows, [2, 0], coarse=[1, 0]))
    assert cifar.read(tmp_path, [file], [file], label_key="labels", superclasses=(0, 0, 1)).train_labels.tolist() == [
        2,
        0,
    ]
    with pytest.raises(UserError, match="batch: class 2 has superclass 1, not 0 as the task says"):
        cifar.read(tmp_path, [file], [file], label_key="labels", superclasses=(0, 1, 0))
