"""Records: what was run, with what, and what came out.

cells    what is to run: the spec of a cell, and the names that follow from it
record   what came out, and its parts
names    what runs are called: by method and what differs
files    one JSON file per cell, written whole or not at all, and what is in a folder of runs
"""

from bench.records.cells import CellOptions, CellSpec, Model, Start, Tuned, Yardstick
from bench.records.files import (
    CELL_FILE,
    LEARNED_FILE,
    LOCK_FILE,
    OPTIONS_FILE,
    RECORD_FILE,
    STATE_FILE,
    Found,
    Unreadable,
    is_running,
    notes,
    prepare_folder,
    read,
    read_all,
    read_cell,
    read_options,
    set_aside,
    write,
    write_text,
)
from bench.records.record import (
    FINISHED,
    Code,
    Environment,
    EpochRecord,
    Noise,
    Record,
    Relative,
    Status,
    StrategyRecord,
    TrainingRecord,
    WorkRecord,
)

__all__ = [
    "CELL_FILE",
    "FINISHED",
    "LEARNED_FILE",
    "LOCK_FILE",
    "OPTIONS_FILE",
    "RECORD_FILE",
    "STATE_FILE",
    "CellOptions",
    "CellSpec",
    "Code",
    "Environment",
    "EpochRecord",
    "Found",
    "Model",
    "Noise",
    "Record",
    "Relative",
    "Start",
    "Status",
    "StrategyRecord",
    "TrainingRecord",
    "Tuned",
    "Unreadable",
    "WorkRecord",
    "Yardstick",
    "is_running",
    "notes",
    "prepare_folder",
    "read",
    "read_all",
    "read_cell",
    "read_options",
    "set_aside",
    "write",
    "write_text",
]
