"""Records: what was run, under which conditions, with which results.

cells    the spec of a cell, and the names derived from it
record   the results of a cell
names    names of runs in tables: the method and its differing settings
claims   which process runs a cell
worklists   the cells that workers share
files    one JSON file per cell, written atomically, and the contents of a folder of runs
"""

from bench.records.cells import CellOptions, CellSpec, Description, Model, Start, Tuned, Yardstick
from bench.records.files import (
    CELL_FILE,
    LEARNED_FILE,
    OPTIONS_FILE,
    RECORD_FILE,
    STATE_FILE,
    STUDY_FILE,
    Found,
    Unreadable,
    add_description,
    folders,
    is_running,
    notes,
    prepare_folder,
    read,
    read_all,
    read_cell,
    read_options,
    remove_states,
    set_aside,
    write,
    write_text,
)
from bench.records.record import (
    FINISHED,
    OPEN,
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
    "OPEN",
    "OPTIONS_FILE",
    "RECORD_FILE",
    "STATE_FILE",
    "STUDY_FILE",
    "CellOptions",
    "CellSpec",
    "Code",
    "Description",
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
    "add_description",
    "folders",
    "is_running",
    "notes",
    "prepare_folder",
    "read",
    "read_all",
    "read_cell",
    "read_options",
    "remove_states",
    "set_aside",
    "write",
    "write_text",
]
