"""The 8x8 digits of scikit-learn: a task that needs no download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from bench.data.sets.arrays import Arrays
from bench.data.sets.stratify import stratified
from bench.errors import UserError
from bench.seeds import generator

TEST_SIZE = 500
_TEST_SEED = 0


def read(data_dir: Path | None = None) -> Arrays:  # noqa: ARG001 -- the signature of Task.read
    """All 1,797 digits, (N, 1, 8, 8), with a fixed stratified test set of 500, as the authors define none.

    Pixels, counts from 0 to 16, are scaled to 0 to 255.
    """
    table = np.loadtxt(_file(), delimiter=",")
    images = np.rint(table[:, :-1].reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    labels = table[:, -1].astype(np.int64)
    test = stratified(torch.from_numpy(labels), TEST_SIZE, generator(_TEST_SEED, "digits", "test")).numpy()
    is_test = np.zeros(len(labels), dtype=np.bool_)
    is_test[test] = True
    return Arrays.from_numpy(images[~is_test], labels[~is_test], images[is_test], labels[is_test])


def _file() -> Path:
    """The file that ``sklearn.datasets.load_digits`` reads; importing scikit-learn takes seconds per process."""
    found = find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise UserError("the digits come with scikit-learn, which is not installed: run pip install scikit-learn")
    return Path(found.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
