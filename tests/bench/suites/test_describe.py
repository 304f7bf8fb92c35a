import json

import pytest
from command_line import run_cells_here
from factories import record

from bench import methods, records, registry, suites
from bench.errors import UserError
from bench.methods import settings
from bench.records import CellOptions, Found
from bench.records.names import conditions_of, family_of, labels_of_cells
from bench.report import fairness, rows
from bench.report.figures import lengths
from bench.running import local, process
from bench.suites import describe

SUITE = """
tasks = ["digits"]
epochs = 1
loader = "memory"
threads = 1
train_samples = 100
[methods.backprop]
plan = "4,M,4"
"""


def expanded(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(SUITE)
    [cell] = suites.cells(suites.load(str(path)))
    return cell


def bare(made):
    return made.model_copy(update={"cell": made.cell.model_copy(update={"described": None})})


def test_a_description_says_all_that_tables_and_figures_ask_for():
    said = describe.description("cwc", settings.canonical("cwc", {}), "fashion-mnist")
    assert said.settings == settings.complete("cwc", {})
    assert said.strategies == ("goodness", "softmax", "best")
    assert said.between == "ReLU, max pooling, BatchNorm"
    assert said.optimiser.startswith(f"{said.settings['optimiser']} {said.settings['learning_rate']}, ")
    assert said.family == "cwc"
    assert said.published == (("CwC", "CFSE"),)
    assert said.dataset == "FashionMNIST"
    assert (len(said.class_names), said.class_names[7]) == (10, "sneaker")


def test_defaults_that_the_settings_leave_out_are_in_it():
    plain = settings.canonical("asge", {})
    assert "gating" not in plain
    said = describe.description("asge", plain, "digits")
    assert said.settings["gating"] == "none"
    assert said.class_names == ()


def test_neither_method_nor_task_need_be_there():
    assert describe.description("unheard-of", {}, "digits") is None
    unknown = describe.description("backprop", settings.canonical("backprop", {}), "unheard-of")
    assert (unknown.dataset, unknown.class_names) == (None, ())
    assert unknown.strategies == ("logits",)


def test_a_hook_that_fails_is_one_sentence(monkeypatch):
    def published(_):
        raise KeyError("plan")

    parts = {"Settings": methods.get("backprop").Settings, "strategies": ("logits",), "build": None}
    method = type("Method", (), {**parts, "published": staticmethod(published)})
    monkeypatch.setattr(registry, "load", lambda group, kind, name: method)
    with pytest.raises(UserError, match=r"published\(\) of method 'toy' failed: KeyError"):
        describe.ask("toy", {}, None)


def test_cells_of_a_suite_are_described(tmp_path):
    cell = expanded(tmp_path)
    assert cell.described == describe.description("backprop", cell.settings, "digits")


def test_a_cells_process_writes_the_description_even_if_its_spec_lacks_it(tmp_path, monkeypatch):
    cell = expanded(tmp_path)
    run_cells_here(monkeypatch)
    folder = tmp_path / cell.id
    folder.mkdir()
    records.write(folder / records.CELL_FILE, cell.model_copy(update={"described": None}))
    assert process.run(folder, CellOptions(suite="mine"), lambda _: None).status == "ok"
    assert records.read(folder / records.RECORD_FILE).cell == cell


def test_the_record_of_a_process_that_died_is_described(tmp_path):
    cell = expanded(tmp_path)
    (tmp_path / "runs" / cell.id).mkdir(parents=True)
    local._record_for(cell, tmp_path / "runs" / cell.id, "mine", "interrupted", "killed")
    [row] = rows.make(records.read_all(tmp_path / "runs"))
    assert (row.strategy, row.status, row.conditions["plan"]) == ("logits", "interrupted", "4,M,4")


def test_a_cell_that_was_stopped_before_its_record_is_described(tmp_path):
    cell = expanded(tmp_path)
    (tmp_path / "runs" / cell.id).mkdir(parents=True)
    records.write(tmp_path / "runs" / cell.id / records.CELL_FILE, cell)
    [row] = rows.make(records.read_all(tmp_path / "runs"))
    assert (row.strategy, row.status, row.between) == ("logits", "interrupted", cell.described.between)


def test_a_row_of_an_older_record_has_its_numbers_and_no_words():
    made = record()
    [row], [whole] = rows.make(Found([bare(made)])), rows.make(Found([made]))
    assert (row.accuracy, row.strategy, row.train_seconds) == (whole.accuracy, whole.strategy, whole.train_seconds)
    assert (row.published, row.gap, row.between, row.optimiser) == (None, None, None, None)
    assert (whole.published, whole.between) == (93.41, made.cell.described.between)
    assert family_of(bare(made).cell) == "asge"
    both = [bare(made), bare(record("backprop", accuracies={"logits": 91.0}))]
    lines = {line.what: line for line in fairness.lines(rows.make(Found(both)))}
    assert lines["optimiser"].values == ("not recorded", "not recorded")


def test_seeds_of_an_older_version_share_a_line_with_those_of_this_one():
    one, other = record(seed=0, accuracies={"last": 90.0}), record(seed=1, accuracies={"last": 92.0})
    gated = record(settings={"gating": "gct"}, accuracies={"last": 70.0})
    table = rows.make(Found([bare(one), other, gated]))
    assert rows.labels_of_rows(table) == ["asge gating=gct", "asge gating=none", "asge gating=none"]
    assert table[1].conditions == table[2].conditions
    names = labels_of_cells([bare(one).cell, other.cell, gated.cell])
    assert names == ["asge gating=none", "asge gating=none", "asge gating=gct"]
    runs = list(zip(names, [bare(one), other, gated], strict=True))
    assert sorted(len(points) for points in lengths.points_by_line(runs).values()) == [1, 1]


def test_the_records_of_a_folder_are_completed_once(tmp_path):
    made = [record(seed=0), record(seed=1), record("unheard-of", accuracies={"last": 1.0})]
    for one in [made[0], *map(bare, made[1:])]:
        folder = tmp_path / one.id
        folder.mkdir()
        records.write(folder / records.RECORD_FILE, one)
    assert describe.complete(tmp_path) == (3, 1, 1)
    assert sorted(found.id for found in records.read_all(tmp_path).records) == sorted(one.id for one in made)
    read = {found.id: found for found in records.read_all(tmp_path).records}
    assert all(read[one.id] == one for one in made)
    assert describe.complete(tmp_path) == (3, 0, 1)


def test_conditions_are_the_settings_in_full():
    cell = record().cell
    assert conditions_of(cell)["gating"] == "none"
    assert "described" not in json.dumps(conditions_of(cell))
