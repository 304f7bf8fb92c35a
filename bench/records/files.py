"""Records as files: one JSON file per cell, written atomically."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from bench.errors import UserError
from bench.records import claims
from bench.records.cells import CellOptions, CellSpec, Description
from bench.records.record import SCHEMA, Record

RECORD_FILE = "record.json"
CELL_FILE = "cell.json"
OPTIONS_FILE = "options.json"
STUDY_FILE = "study.json"
"""The record of a study, see ``bench.studies``."""
STATE_FILE = "state.pt"
"""The state after the last complete epoch, of cells that are running or were interrupted."""
LEARNED_FILE = "learned.pt"
"""The state after the last epoch, of cells that others start from, and of those run with ``keep``."""


def write(path: Path, model: BaseModel) -> None:
    """Write a model as JSON, atomically: no reader sees half of it."""
    write_text(path, model.model_dump_json(indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically; a killed process leaves the old one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # the temporary name means nothing to the user
        raise
    finally:
        temporary.unlink(missing_ok=True)


class Unreadable(NamedTuple):
    """A record that cannot be read: its file, the reason, and the spec of its cell if readable."""

    path: Path
    reason: str
    cell: CellSpec | None


class Found(NamedTuple):
    """The contents of a folder of runs.

    Attributes:
        records: the readable ones.
        stopped: cells without a record that no process is running.
        running: cells without a record that a process is running.
        unreadable: records that cannot be read, being damaged or of an older schema.
    """

    records: Sequence[Record]
    stopped: Sequence[CellSpec] = ()
    running: Sequence[CellSpec] = ()
    unreadable: Sequence[Unreadable] = ()


def read(path: Path) -> Record:
    """Read a record from its file.

    Raises:
        UserError: if it is not valid JSON or not a record of this schema.
    """
    content = path.read_bytes()
    try:
        return Record.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = _other_schema(content) or (f"{where}: {first['msg']}" if where else first["msg"])
        raise UserError(f"{path} is not a readable record ({reason})") from None


def _other_schema(content: bytes) -> str | None:
    """Describe that a record has another schema."""
    try:
        version = json.loads(content)["schema_version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return None if version == SCHEMA else f"its schema is {version!r}, this version reads {SCHEMA}"


def read_cell(path: Path) -> CellSpec:
    """Read the spec in the folder of a cell without a record; a UserError if that fails."""
    try:
        return CellSpec.model_validate_json(path.read_bytes())
    except ValidationError:
        raise UserError(f"{path} is not the spec of a cell; delete its folder to run the cell again") from None


def read_options(path: Path) -> CellOptions:
    """How the process of a cell is to run it; a UserError if that cannot be read."""
    try:
        return CellOptions.model_validate_json(path.read_bytes())
    except ValidationError:
        raise UserError(f"{path} does not hold the options of a cell; `bench run` writes it anew") from None


def folders(place: Path) -> list[Path]:
    """A folder of runs; of a folder of such folders, those in it, sorted. A folder without records is one of runs."""
    inside = sorted({file.parents[1] for file in place.glob(f"*/*/{RECORD_FILE}")})
    return [place] if any(place.glob(f"*/{RECORD_FILE}")) or not inside else inside


def read_all(runs: Path) -> Found:
    """Read everything in a folder of runs.

    Raises:
        UserError: if the folder does not exist, or a cell has neither a readable record nor a readable spec.
    """
    if not runs.is_dir():
        raise UserError(f"folder of runs {str(runs)!r} does not exist; `bench run` makes one")
    records: list[Record] = []
    stopped: list[CellSpec] = []
    running: list[CellSpec] = []
    unreadable: list[Unreadable] = []
    for folder in _cell_folders(runs):
        path = folder / RECORD_FILE
        if not path.is_file():
            (running if is_running(folder) else stopped).append(read_cell(folder / CELL_FILE))
            continue
        try:
            records.append(read(path))
        except UserError as error:
            unreadable.append(Unreadable(path, str(error), _cell_or_none(folder)))
    return Found(records, stopped, running, unreadable)


def notes(found: Found) -> list[str]:
    """Notes for the user on records that cannot be read, or do not describe their method."""
    unreadable = [f"{part.reason}; `bench run` sets it aside and measures it again" for part in found.unreadable]
    bare = sum(record.cell.described is None for record in found.records)
    if not bare:
        return unreadable
    what = "1 record does not" if bare == 1 else f"{bare} records do not"
    return [*unreadable, f"{what} describe the method, as older ones; `bench describe FOLDER` adds what is known today"]


def add_description(path: Path, described: Description) -> None:
    """Add a description to a record's file that lacks it; nothing else in the file changes, not even its spaces.

    Raises:
        UserError: if the file is not a record as ``write`` writes it.
    """
    record = read(path)
    lines = path.read_text(encoding="utf-8").split("\n")
    try:
        end = lines.index(" },", lines.index(' "cell": {'))
    except ValueError:
        raise UserError(f"{path} is not laid out as `bench run` writes a record: no description can be added") from None
    fields = [line for line in lines[:end] if line != '  "described": null']
    text = described.model_dump_json(indent=1).replace("\n", "\n  ")
    changed = "\n".join([*fields[:-1], f"{fields[-1].removesuffix(',')},", f'  "described": {text}', *lines[end:]])
    expected = record.model_copy(update={"cell": record.cell.model_copy(update={"described": described})})
    if Record.model_validate_json(changed) != expected:
        raise UserError(f"{path} would not be the same record with a description; it stays as it is")
    write_text(path, changed)


def set_aside(path: Path) -> Path:
    """Rename a record that cannot be read, to make way for a new one; returns its new path."""
    for number in itertools.count(1):
        target = path.with_name(f"record-unreadable-{number}.json")
        if not target.exists():
            break
    path.rename(target)
    return target


def remove_states(folder: Path, *, but: str = "") -> None:
    """Remove a cell's checkpoints, except one file."""
    for state in folder.glob("*.pt"):
        if state.name != but:
            state.unlink()


def prepare_folder(out: Path) -> None:
    """Create a folder and check that it is writable; a UserError otherwise."""
    probe = out / f".write-test-{os.getpid()}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"output folder {str(out)!r} cannot be written: {error.strerror}") from error


def is_running(folder: Path) -> bool:
    """Whether a process holds a cell, see ``bench.records.claims``."""
    return claims.holder(folder) is not None


def _cell_or_none(folder: Path) -> CellSpec | None:
    try:
        return read_cell(folder / CELL_FILE)
    except (UserError, OSError):
        return None


def _cell_folders(runs: Path) -> Iterator[Path]:
    for folder in sorted(runs.iterdir()):
        if (folder / RECORD_FILE).is_file() or (folder / CELL_FILE).is_file():
            yield folder
