import hashlib
import json

import pytest
from factories import cell, record

from asge.common import types
from bench import records
from bench.errors import UserError
from bench.records import Found, claims


def test_a_record_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / records.RECORD_FILE
    records.write(path, record())
    assert records.read(path) == record()
    assert [p.name for p in tmp_path.iterdir()] == [records.RECORD_FILE]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    path.write_text("old")

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        records.write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text[: len(text) // 2], "Invalid JSON"),
        (lambda _: "", "Invalid JSON"),
        (
            lambda text: text.replace('"status":"ok"', '"status":"fine"').replace('"status": "ok"', '"status": "fine"'),
            "status",
        ),
        (lambda text: json.dumps({**json.loads(text), "schema_version": 99}), "its schema is 99, this version reads 1"),
        (lambda text: json.dumps({**json.loads(text), "surprise": 1}), "surprise"),
        (lambda text: json.dumps({**json.loads(text), "training": None}), "status is ok, but"),
        (lambda text: json.dumps({**json.loads(text), "id": "other"}), "id must be that of its cell"),
        (lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "code"}), "code"),
    ],
)
def test_an_edited_record_is_an_error_that_names_the_file(tmp_path, edit, message):
    path = tmp_path / "record.json"
    records.write(path, record())
    path.write_text(edit(path.read_text()))
    with pytest.raises(UserError, match=message) as caught:
        records.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_of_runs_holds_records_and_unfinished_cells(tmp_path):
    done, open_ = record(seed=0), cell(seed=1)
    for spec in (done.cell, open_):
        (tmp_path / spec.id).mkdir()
        records.write(tmp_path / spec.id / records.CELL_FILE, spec)
    records.write(tmp_path / done.cell.id / records.RECORD_FILE, done)
    (tmp_path / "figures").mkdir()
    assert records.read_all(tmp_path) == Found([done], [open_], [], [])


def test_a_cell_that_a_process_holds_is_running(tmp_path):
    folder = tmp_path / cell().id
    folder.mkdir()
    records.write(folder / records.CELL_FILE, cell())
    claim = claims.take(folder)
    assert records.read_all(tmp_path) == Found([], [], [cell()], [])
    claim.release()
    assert records.read_all(tmp_path) == Found([], [cell()], [], [])


def test_a_record_of_an_older_schema_is_listed_and_the_others_are_read(tmp_path):
    good, old = record(seed=0), record(seed=1)
    for one in (good, old):
        (tmp_path / one.id).mkdir()
        records.write(tmp_path / one.id / records.CELL_FILE, one.cell)
        records.write(tmp_path / one.id / records.RECORD_FILE, one)
    path = tmp_path / old.id / records.RECORD_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 0}))
    found = records.read_all(tmp_path)
    assert found.records == [good]
    [unreadable] = found.unreadable
    assert (unreadable.path, unreadable.cell) == (path, old.cell)
    assert "its schema is 0, this version reads 1" in unreadable.reason

    kept = path.read_text()
    first = records.set_aside(path)
    path.write_text("another")
    assert [first.name, records.set_aside(path).name] == ["record-unreadable-1.json", "record-unreadable-2.json"]
    assert first.read_text() == kept


def test_a_cell_without_a_yardstick_has_the_id_it_always_had():
    assert cell(yardstick=None).id != cell().id
    assert cell(yardstick=None).experiment == cell().experiment


def test_a_missing_folder_of_runs_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        records.read_all(tmp_path / "nowhere")


def test_not_a_number_is_never_written():
    with pytest.raises(ValueError, match="finite"):
        record(accuracies={"last": float("nan")})


def test_fields_that_came_later_leave_the_names_of_old_cells():
    old = {
        "method": "asge", "settings": {}, "task": "fashion-mnist", "seed": 0, "epochs": 2, "batch_size": 64,
        "augmentation": [], "train_samples": None, "loader": "memory", "device": "cpu", "threads": 2,
    }  # fmt: skip
    text = json.dumps(old, sort_keys=True, separators=(",", ":"))
    spec = cell(yardstick=None)
    assert spec.id == f"fashion-mnist-asge-seed0-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    for changes in ({"resolutions": ((1, 24),)}, {"packing": "raw"}):
        other = cell(yardstick=None, **changes)
        assert other.id != spec.id
        assert other.experiment != spec.experiment


def without_description(made):
    return made.model_copy(update={"cell": made.cell.model_copy(update={"described": None})})


def older(made):
    """The text of a record from before there were descriptions."""
    return without_description(made).model_dump_json(indent=1).replace(',\n  "described": null', "") + "\n"


@pytest.mark.parametrize("text", [older(record()), without_description(record()).model_dump_json(indent=1) + "\n"])
def test_a_description_is_added_to_an_older_record_as_if_it_had_always_been_there(tmp_path, text):
    path = tmp_path / records.RECORD_FILE
    path.write_text(text)
    assert records.read(path) == without_description(record())
    records.add_description(path, record().cell.described)
    added = path.read_text()
    records.write(path, record())
    assert added == path.read_text()


def test_a_description_changes_no_other_byte(tmp_path):
    path = tmp_path / records.RECORD_FILE
    text = older(record()).replace('"accuracy": 90.0', '"accuracy": 9.0e1').replace('  "weights"', '  "weights" ')
    assert text != older(record())
    path.write_text(text)
    records.add_description(path, record().cell.described)
    words = record().cell.described.model_dump_json(indent=1).replace("\n", "\n  ")
    assert path.read_text().replace(f',\n  "described": {words}', "") == text


def test_no_description_is_added_to_a_file_of_another_layout(tmp_path):
    path = tmp_path / records.RECORD_FILE
    path.write_text(without_description(record()).model_dump_json())
    with pytest.raises(UserError, match="not laid out"):
        records.add_description(path, record().cell.described)
    assert path.read_text() == without_description(record()).model_dump_json()


def test_a_description_changes_no_name(tmp_path):
    described, bare = cell(), cell().model_copy(update={"described": None})
    assert described.described is not None
    assert (described.id, described.experiment) == (bare.id, bare.experiment)


def test_a_folder_with_records_that_describe_nothing_says_how_to_add_it():
    found = Found([record(), without_description(record(seed=1)), without_description(record(seed=2))])
    [note] = records.notes(found)
    assert note.startswith("2 records do not describe the method")
    assert "`bench describe FOLDER`" in note
    assert records.notes(Found([record()])) == []


def test_shares_of_open_gates_have_the_name_that_learners_give_them():
    assert records.OPEN == types.OPEN
