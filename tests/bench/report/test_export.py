"""Records read back by the programs they were written for."""

import io
import json
import sys

import pandas as pd
import pytest
from factories import record

from bench.cli import app
from bench.errors import UserError
from bench.records import Found
from bench.report import export, rows


@pytest.fixture
def runs(tmp_path):
    made = [record(seed=0, accuracies={"last": 90.0, "best": 91.0}), record("ff", accuracies={"goodness": 80.0})]
    for each in made:
        (tmp_path / "runs" / each.id).mkdir(parents=True)
        (tmp_path / "runs" / each.id / "record.json").write_text(each.model_dump_json())
    return made


def test_parquet_has_a_row_per_strategy_and_seed(runs, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    assert app.main(["export", "parquet", "runs", "--out", "new/rows.parquet"]) == 0
    assert capsys.readouterr().out == "new/rows.parquet: 3 rows\n"
    frame = pd.read_parquet("new/rows.parquet")
    assert list(zip(frame.method, frame.strategy, frame.accuracy, strict=True)) == [
        ("asge", "last", 90.0), ("asge", "best", 91.0), ("ff", "goodness", 80.0),
    ]  # fmt: skip
    assert json.loads(frame.conditions[0]) == rows.make(Found(runs))[0].conditions


def test_tensorboard_has_the_scalars_of_every_epoch(runs, tmp_path, monkeypatch, capsys):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the second replaces the first
        assert app.main(["export", "tensorboard", "runs", "--out", "board"]) == 0
    assert capsys.readouterr().out == "board: 2 cells\n" * 2
    first = runs[0]
    read = accumulator.EventAccumulator(str(tmp_path / "board" / first.id)).Reload()
    strategy = next(iter(first.epochs[0].validation))
    shown = [(event.step, event.value) for event in read.Scalars(f"validation/{strategy}")]
    assert shown == [(each.epoch, pytest.approx(each.validation[strategy])) for each in first.epochs]
    assert [(event.step, event.value) for event in read.Scalars("test/best")] == [(first.epochs[-1].epoch, 91.0)]
    times = [event.wall_time for event in read.Scalars(f"validation/{strategy}")]
    assert times[1] - times[0] == pytest.approx(first.epochs[1].seconds)


@pytest.mark.parametrize(
    ("module", "write"),
    [
        ("pyarrow", lambda made, out: export.parquet(rows.make(Found(made)), io.BytesIO())),
        ("tensorboard.compat.proto.event_pb2", export.tensorboard),
    ],
)
def test_what_is_not_installed_is_one_sentence(runs, tmp_path, monkeypatch, module, write):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"needs the package \w+: pip install 'local-learning-bench\[export\]'"):
        write(runs, tmp_path)
