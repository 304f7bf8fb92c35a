"""What is committed below results/ stays readable, under the ids that it was committed with."""

from pathlib import Path

from bench import records

ROOT = Path(__file__).parents[1]


def test_every_committed_record_has_the_id_that_its_cell_has_today():
    """A record's id is the hash of its cell: a change to what is hashed, or to its form, shows here."""
    files = sorted((ROOT / "results").rglob(records.RECORD_FILE))
    assert files
    read = {file: records.read(file) for file in files}  # which refuses another id than the cell's
    assert {file.parent.name: record.cell.id for file, record in read.items()} == {
        file.parent.name: file.parent.name for file in files
    }
