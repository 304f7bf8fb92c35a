"""What is committed below results/ stays readable, under the ids that it was committed with."""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import records, suites
from bench.cli.app import main
from bench.records import sources
from bench.records.cells import hash_of
from bench.reference import measured
from bench.suites import drift

ROOT = Path(__file__).parents[1]
OUTPUT = ("runs", "studies", "tuning")
"""Below results/, where commands write that are not told where: not committed."""
FILES = sorted(
    file
    for file in (ROOT / "results").rglob(records.RECORD_FILE)
    if file.relative_to(ROOT / "results").parts[0] not in OUTPUT
)
FOLDERS = sorted({str(file.parents[1].relative_to(ROOT)) for file in FILES})
FORMS = ("json", "markdown")
BLOCKED = """
import contextlib, importlib.metadata, io, json, sys

REFUSED = ("asge", "baselines", "torch", "torchvision", "timm", "bench.methods", "bench.data")


class Finder:
    def find_spec(self, name, path=None, target=None):
        if any(name == refused or name.startswith(f"{refused}.") for refused in REFUSED):
            raise ImportError(f"{name} is not installed here")


sys.meta_path.insert(0, Finder())
registered = importlib.metadata.entry_points


def without_plug_ins(**select):
    return () if select.get("group", "").startswith("bench.") else registered(**select)


importlib.metadata.entry_points = without_plug_ins
from bench.cli.app import main

printed = {}
for folder in sys.argv[2:]:
    for form in sys.argv[1].split(","):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = main(["table", folder, "--format", form])
        printed[f"{folder} {form}"] = [status, out.getvalue()]
print(json.dumps(printed))
"""


def test_every_committed_record_has_the_id_that_its_cell_has_today():
    """A record's id is the hash of its cell: a change to what is hashed, or to its form, shows here."""
    assert FILES
    read = {file: records.read(file) for file in FILES}  # which refuses another id than the cell's
    assert {file.parent.name: record.cell.id for file, record in read.items()} == {
        file.parent.name: file.parent.name for file in FILES
    }


def test_every_committed_record_describes_its_method_in_its_own_terms():
    for file in FILES:
        record = records.read(file)
        said = record.cell.described
        assert said is not None, file
        assert record.cell.settings.items() <= said.settings.items(), file
        assert {part.strategy for part in record.strategies} <= set(said.strategies), file
        assert said.between, file
        assert said.optimiser, file


def test_stored_references_are_of_their_suites_cells_and_of_no_others():
    for name in suites.names():
        stored = measured.load(name)
        if stored is not None:
            parts = [*stored.rows, *stored.goldens, *stored.costs]
            contents = {part.experiment: stored.contents.get(part.experiment, {}) for part in parts}
            for sentence in drift.of_reference(suites.load(name), contents):
                pytest.fail(sentence, pytrace=False)
            assert set(contents) == set(stored.contents), name
            assert all(hash_of(content) == key for key, content in stored.contents.items()), name


def test_every_committed_record_is_of_a_cell_of_its_suite():
    """With the options that it says it was run with."""
    by_suite = {}
    for file in FILES:
        record = records.read(file)
        by_suite.setdefault((str(file.parents[1].relative_to(ROOT)), record.suite), []).append(record)
    for (folder, suite), found in by_suite.items():
        for sentence in drift.of_records(suites.load(suite), found):
            pytest.fail(f"{folder}: {sentence}", pytrace=False)


@pytest.fixture(scope="module")
def without_methods():
    """Tables of every committed folder, printed where nothing of a method can be imported: [exit status, text]."""
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, ",".join(FORMS), *FOLDERS],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_committed_folder_has_the_same_table_where_no_method_can_be_imported(folder, without_methods, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sources, "computation", lambda cell: None)  # where no method is, no code can be compared
    for form in FORMS:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert main(["table", folder, "--format", form]) == 0
        assert without_methods[f"{folder} {form}"] == [0, out.getvalue()]
    assert json.loads(without_methods[f"{folder} json"][1])
