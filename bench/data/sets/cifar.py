"""Reads the pickled batches of CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.sets.arrays import Arrays
from bench.data.sets.files import DataFile, read_checked
from bench.errors import UserError

_IMAGE_SHAPE = (3, 32, 32)


def _empty_array(_type: type, _shape: tuple[int, ...], _code: str) -> NDArray[np.int8]:
    # Replaces NumPy's private `_reconstruct`; the pickle then sets shape, type and data.
    return np.empty(0, dtype=np.int8)


def _dtype(name: str, _align: int, _copy: int) -> np.dtype[Any]:
    # The pickles pass `align` as 0, which recent NumPy warns about.
    return np.dtype(name)


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles arrays, and nothing that could run code."""

    _allowed = {  # noqa: RUF012 -- a constant, and mypy infers its type
        ("numpy.core.multiarray", "_reconstruct"): _empty_array,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): _dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"{module}.{name} does not belong in a CIFAR batch")
        return self._allowed[module, name]


def unpickle(content: bytes) -> dict[str, Any]:
    """Unpickle a batch written by Python 2. Only for content whose checksum has matched.

    Raises:
        pickle.UnpicklingError: if it contains anything but arrays.
    """
    batch: dict[str, Any] = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    return batch


def _read(
    root: Path, files: Sequence[DataFile], label_key: str, superclasses: Sequence[int] | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    batches = [unpickle(read_checked(root, file)) for file in files]
    images = np.concatenate([batch["data"] for batch in batches]).reshape(-1, *_IMAGE_SHAPE)
    labels = np.concatenate([np.asarray(batch[label_key], dtype=np.int64) for batch in batches])
    if superclasses is not None:
        coarse = np.concatenate([np.asarray(batch["coarse_labels"], dtype=np.int64) for batch in batches])
        wrong = np.flatnonzero(np.asarray(superclasses)[labels] != coarse)
        if len(wrong):
            raise UserError(
                f"{files[0].path}: class {labels[wrong[0]]} has superclass {coarse[wrong[0]]}, "
                f"not {superclasses[labels[wrong[0]]]} as the task says"
            )
    return images, labels


def read(
    root: Path,
    train: Sequence[DataFile],
    test: Sequence[DataFile],
    *,
    label_key: str,
    superclasses: Sequence[int] | None = None,
) -> Arrays:
    """Read pickled batches below ``root``.

    Args:
        root: folder of the files.
        train: files of the training set.
        test: files of the test set.
        label_key: key of the labels within a batch.
        superclasses: superclass of every class; the data's own coarse labels must agree.

    Raises:
        UserError: if a file is missing or damaged; none is unpickled before its checksum has matched.
    """
    train_images, train_labels = _read(root, train, label_key, superclasses)
    test_images, test_labels = _read(root, test, label_key, superclasses)
    return Arrays.from_numpy(train_images, train_labels, test_images, test_labels)
