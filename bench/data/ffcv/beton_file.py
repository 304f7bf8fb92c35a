"""Reads an FFCV file's tables without decoding its images. Importing this module imports FFCV, which takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.data.batches.threads import threads_kept


class Examined(NamedTuple):
    """Number of samples in a file, and of each class, by label from 0."""

    samples: int
    classes: tuple[int, ...]


def examined(path: Path) -> Examined:
    """Read a file's tables and check that it is complete.

    Raises:
        ValueError: if it is truncated or not an FFCV file.
    """
    with threads_kept():
        from ffcv.reader import Reader

        try:
            reader = Reader(str(path))
        except Exception as error:
            raise ValueError(f"{path} is not a complete FFCV file: {error}") from error
    check_size(path, reader.header, reader.alloc_table)
    return Examined(int(reader.num_samples), tuple(np.bincount(reader.metadata["f1"].astype(np.int64)).tolist()))


def check_size(path: Path, header: np.void, table: np.ndarray) -> None:
    """Raise a ValueError unless pages and tables fill the file to its end."""
    size, tables = path.stat().st_size, int(header["alloc_table_ptr"])
    end = int((table["ptr"] + table["size"]).max(initial=0))
    if end > tables or tables + table.nbytes != size or len(table) < int(header["num_samples"]):
        raise ValueError(
            f"{path} is truncated or damaged: {size} bytes, {len(table)} of {header['num_samples']} images"
        )
    pages = np.unique(table["ptr"] // int(header["page_size"]))
    if len(pages) and tables != (int(pages.max()) + 1) * int(header["page_size"]):
        raise ValueError(f"{path} is truncated or damaged: its pages end at {tables} bytes")
