import io
import sys

import pytest
from factories import cell, record
from rich.console import Console

from bench.records import names
from bench.running import progress
from bench.running.local import Outcome

STEP = {"event": "step", "epoch": 1, "images": 300, "seconds": 2.0, "epochs_done": 0.5}
EPOCH = {"event": "epoch", **record().epochs[0].model_dump()}


@pytest.fixture(params=[True, False], ids=["terminal", "pipe"])
def shown(request):
    out = io.StringIO()
    console = Console(file=out, force_terminal=request.param, width=160, force_interactive=request.param)
    good, dead = cell(seed=0), cell(seed=1)
    lost = record(seed=1, status="interrupted")
    with progress.watcher(console, "mine", names.titles([good, dead])) as watcher:
        assert isinstance(watcher, progress.LiveWatcher if request.param else progress.PlainWatcher)
        watcher.cell_started(good, 0, 2)
        for event in ({"event": "data"}, STEP, EPOCH, {"event": "test"}, {"event": "done"}):
            watcher.cell_event(good, event)
        watcher.cell_finished(good, Outcome(good, record(), reused=False, problem=None))
        watcher.cell_started(dead, 1, 2)
        watcher.cell_finished(dead, Outcome(dead, lost, reused=False, problem="killed [by] signal 9"))
    return out.getvalue()


def test_suite_cell_epoch_rate_losses_and_accuracies_are_shown(shown):
    assert "mine [1/2] asge on fashion-mnist, seed 0: 2 epochs, memory loader" in shown
    assert "epoch 1/2: 50 img/s; validation % last 80.00; layers % 50.0 81.0; loss loss 1" in shown
    assert "test % last 90.00" in shown


def test_a_dead_cell_is_shown_with_the_reason_as_it_is(shown):
    assert "asge on fashion-mnist, seed 1: interrupted: killed [by] signal 9" in shown


def test_cells_of_one_method_are_told_apart():
    swept = [cell("ff", settings={"threshold": value}) for value in (0.5, 2.0)]
    titles = names.titles([cell("asge"), *swept])
    assert list(titles.values()) == [
        "asge on fashion-mnist, seed 0",
        "ff threshold=0.5 on fashion-mnist, seed 0",
        "ff threshold=2.0 on fashion-mnist, seed 0",
    ]


def test_counted_work_is_a_line_a_tenth(capsys):
    console = Console(file=sys.stdout)
    with progress.counting(console) as report:
        for done in (0, 3, 25, 29, 30, 100):
            report("writing", done, 100)
        report("nothing", 0, 0)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["writing: 25 of 100", "writing: 30 of 100", "writing: 100 of 100"]


def test_a_notebook_without_widgets_gets_plain_lines(monkeypatch):
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    notebook = Console(force_jupyter=True)
    assert isinstance(progress.watcher(notebook, "smoke", {}), progress.PlainWatcher)
    monkeypatch.setattr(progress, "find_spec", lambda name: object())
    assert isinstance(progress.watcher(notebook, "smoke", {}), progress.LiveWatcher)
