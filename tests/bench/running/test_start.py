from types import SimpleNamespace

import pytest
import torch
from command_line import run_cells_here

from bench import records, suites
from bench.errors import UserError
from bench.options import RunOptions
from bench.running import local, rehearsal, training

DATA = """
tasks = ["digits"]
epochs = 1
loader = "memory"
threads = 1
train_samples = 200
batch_size = 50
"""
UNGATED = """
[start]
method = "bas"
settings = { architecture = "cifar-8", width = 0.5, gating = "none", learning_rate = 0.05, schedule = "constant" }
epochs = 6
"""
GATED = """
[methods.bas]
architecture = "cifar-8"
width = 0.5
learning_rate = 1e-9
"""
SUITE = DATA + UNGATED + GATED
WATCHER = SimpleNamespace(cell_started=lambda *_: None, cell_event=lambda *_: None, cell_finished=lambda *_: None,
                          waiting=lambda *_: None)  # fmt: skip


def cells(tmp_path, text=SUITE, **overrides):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return suites.cells(suites.load(str(path)), suites.Overrides(threads=1, **overrides))


def run(expanded, out):
    return local.run_cells(expanded, RunOptions("mine", out=out), watcher=WATCHER)


def test_what_a_cell_begins_with_comes_first_and_once_per_seed(tmp_path):
    two = SUITE + "[methods.conv-aig]\n"
    found = [(c.method, c.seed, c.epochs, c.start is None) for c in cells(tmp_path, two, seeds=2)]
    assert found == [
        ("bas", 0, 6, True), ("bas", 0, 1, False), ("conv-aig", 0, 1, False),
        ("bas", 1, 6, True), ("bas", 1, 1, False), ("conv-aig", 1, 1, False),
    ]  # fmt: skip


def test_a_start_is_part_of_what_a_cell_is(tmp_path):
    first, second = cells(tmp_path)
    alone = second.model_copy(update={"start": None})
    assert len({first.id, second.id, alone.id}) == 3
    assert len({first.experiment, second.experiment, alone.experiment}) == 3
    assert second.begins_with == first.model_copy(update={"described": None})
    assert first.described is not None


def test_a_cell_goes_on_with_the_weights_that_another_has_learned(tmp_path, monkeypatch):
    out = tmp_path / "runs"
    out.mkdir()
    run_cells_here(monkeypatch)
    expanded = cells(tmp_path)
    first, second = run(expanded, out)
    assert (first.record.status, second.record.status) == ("ok", "ok")
    assert [path.name for path in out.rglob("*.pt")] == [records.LEARNED_FILE]
    drawn, begun = (outcome.record.opening_losses["loss"][0] for outcome in (first, second))
    assert begun < 0.9 * drawn

    assert all(outcome.reused for outcome in run(expanded, out))
    (out / expanded[0].id / records.LEARNED_FILE).unlink()
    again = run(expanded, out)
    assert [outcome.reused for outcome in again] == [False, True]
    assert again[0].record.strategies[0].accuracy == first.record.strategies[0].accuracy


def test_what_cannot_begin_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(UserError, match=r"bas cannot start from digits-bas-.*: it is another network: stem.weight"):
        rehearsal.rehearse(cells(tmp_path, DATA + UNGATED + GATED.replace("0.5", "1.0")), None)
    with pytest.raises(UserError, match="method 'ff' cannot start from a checkpoint"):
        rehearsal.rehearse(cells(tmp_path, DATA + UNGATED + "[methods.ff]"), None)
    with pytest.raises(UserError, match="setting of bas"):
        cells(tmp_path, SUITE.replace("gating", "gatign"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"learned.pt does not exist; run its cell again"):
        training.load_state(tmp_path / "learned.pt", torch.device("cpu"))
