"""Cells without training: their results are made up from their settings.

As a script, `bench tune` with such cells: `python made_up.py asge digits --trials 10`. It says when one begins, and
with HANGS_AFTER=4 in the environment the fifth never ends.
"""

import itertools
import os
import sys
import time

from factories import record

from bench.running.local import Outcome

SECONDS = 0.2


def score(cell):
    """Best at alpha 1.5 and mean; a seed above 0 costs a tenth of a point."""
    return 90 - 10 * abs(cell.settings["alpha"] - 1.5) - (cell.settings["reduction"] == "sum") - 0.1 * cell.seed


def outcome(cell, watcher):
    """Two epochs and a record; test accuracies must not matter, so they are 0."""
    for epoch in (1, 2):
        event = {"event": "epoch", "epoch": epoch, "validation": {"last": score(cell) - 2 + epoch, "best": 1.0}}
        watcher.cell_event(cell, event)
    base = record(accuracies={"last": 0.0})
    ended = base.epochs[-1].model_copy(update={"validation": {"last": score(cell), "best": 1.0}})
    made = base.model_copy(update={"cell": cell, "id": cell.id, "epochs": [base.epochs[0], ended]})
    return Outcome(cell, made, reused=False, problem=None)


def main(arguments):
    """The command line, with made-up cells."""
    from bench.cli import app as cli
    from bench.tuning import tuner

    hangs_after = int(os.environ.get("HANGS_AFTER", "-1"))
    number = itertools.count()

    def run_cells(cells, options, *, watcher, **_):
        print("cell begins", file=sys.stderr, flush=True)
        time.sleep(3600 if next(number) == hangs_after else SECONDS)
        [cell] = cells
        return [outcome(cell, watcher)]

    tuner.local.run_cells = run_cells
    tuner.rehearsal.rehearse = lambda cells, data_dir: None
    return cli.main(["tune", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
