"""Records in the formats of other programs: rows as Parquet, epochs as TensorBoard's scalars.

What writes them is not among the project's dependencies: pip install 'local-learning-bench[export]' brings it.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO

import pandas as pd

from bench.errors import UserError
from bench.records import Record
from bench.report.rows import Row
from bench.report.table import plain

MISSING = "{} needs the package {}: pip install 'local-learning-bench[export]'"


def parquet(table: Sequence[Row], file: IO[bytes]) -> None:
    """Write one row per strategy and seed; lists and mappings as JSON.

    Raises:
        UserError: if pyarrow is not installed, or a value does not fit its column.
    """
    lines = [{name: plain(value) for name, value in asdict(row).items()} for row in table]
    frame = pd.DataFrame(lines, columns=[field.name for field in fields(Row)])
    try:
        import pyarrow  # noqa: F401, ICN001 -- whether it is there
    except ImportError:
        raise UserError(MISSING.format("parquet", "pyarrow")) from None
    try:
        frame.to_parquet(file, engine="pyarrow", index=False)
    except (ValueError, TypeError, OverflowError) as error:  # of pyarrow too: a number that has no place in a column
        raise UserError(f"these rows cannot be written as Parquet: {error}") from error


def tensorboard(records: Sequence[Record], out: Path) -> list[Path]:
    """Write a folder of events per record, named as its cell: all scalars by epoch, test accuracies at the last one.

    A folder of an earlier export is replaced.

    Args:
        records: those without an epoch are left out.
        out: for the folders, which `tensorboard --logdir` reads.

    Returns:
        the folders.

    Raises:
        UserError: if tensorboard is not installed, or a record has no valid date or numbers.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise UserError(MISSING.format("tensorboard", "tensorboard")) from None

    made = []
    for record in (each for each in records if each.epochs):
        folder = out / record.id
        shutil.rmtree(folder, ignore_errors=True)
        writer = EventFileWriter(str(folder))
        for epoch, time, name, value in _scalars(record):
            scalar = Summary(value=[Summary.Value(tag=name, simple_value=value)])
            writer.add_event(Event(wall_time=time, step=epoch, summary=scalar))
        writer.close()
        made.append(folder)
    return made


def _scalars(record: Record) -> Iterator[tuple[int, float, str, float]]:
    """Epoch, time, name and value of every scalar; times count back from the end by the seconds of training."""
    try:
        time = dt.datetime.fromisoformat(record.created).timestamp()
    except (ValueError, OverflowError):
        raise UserError(f"record {record.id}: created = {record.created!r} is not a date") from None
    time -= sum(epoch.seconds for epoch in record.epochs)
    for epoch in record.epochs:
        time += epoch.seconds
        named = {f"validation/{name}": value for name, value in epoch.validation.items()}
        named |= {f"loss/{name}": value for name, value in epoch.losses.items()}
        named |= {f"layer {number}/accuracy": value for number, value in enumerate(epoch.layers or (), 1)}
        named |= {f"layer {number}/goodness": value for number, value in enumerate(epoch.layer_goodness or (), 1)}
        named["training/images per second"] = epoch.images / epoch.seconds if epoch.seconds else 0.0
        for name, value in named.items():
            yield epoch.epoch, time, name, value
    for part in record.strategies:
        yield record.epochs[-1].epoch, time, f"test/{part.strategy}", part.accuracy
