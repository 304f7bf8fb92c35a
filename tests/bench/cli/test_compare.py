import json
from dataclasses import replace

import pytest
from sides_made_up import only, runs, three_rows

from bench import records
from bench.cli import compare as comparing
from bench.cli.options import OutputFormat
from bench.errors import ExitStatus, UserError

NO_OPTIONS = {
    "suite": None, "methods": None, "seeds": None, "epochs": None, "threads": None, "data_dir": None, "out": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "failed", "status"),
    [
        ([{"verdict": "better"}, {"verdict": "identical"}], False, ExitStatus.OK),
        ([{"verdict": "no difference seen"}, {"verdict": "only in B"}], False, ExitStatus.OK),
        ([{"verdict": "too few seeds"}], False, ExitStatus.OK),
        ([{"verdict": "worse"}, {"verdict": "failed", "failed_b": 1}], True, ExitStatus.REGRESSION),
        ([{"verdict": "better"}, {"verdict": "failed", "failed_b": 1}], False, ExitStatus.CELL_FAILED),
        ([{"verdict": "better", "failed_a": 1}], False, ExitStatus.CELL_FAILED),
        ([{"verdict": "only in A"}], True, ExitStatus.CELL_FAILED),
        ([{"verdict": "only in A"}, {"verdict": "only in B"}], False, ExitStatus.NOTHING_MEASURED),
        ([], False, ExitStatus.NOTHING_MEASURED),
    ],
)
def test_the_exit_status(changes, failed, status):
    row = only(runs([90.0]), runs([90.0]))
    assert comparing.exit_status([replace(row, **change) for change in changes], failed=failed, what="x") == status


def folder(path, made):
    for part in made:
        (path / part.id).mkdir(parents=True)
        records.write(path / part.id / records.RECORD_FILE, part)
    return str(path)


def test_two_folders_are_compared_with_the_second_run_that_stands_beside_them(tmp_path, capsys):
    a = folder(tmp_path / "a", runs([90.0, 90.1], rates=[100.0, 101.0]))
    b = folder(tmp_path / "b", runs([80.0, 80.1], rates=[50.0, 51.0]))
    folder(tmp_path / "a-again", runs([90.0], rates=[110.0]))
    status = comparing.compare(a, b, **NO_OPTIONS, form=OutputFormat.JSON)
    [row] = json.loads(capsys.readouterr().out)
    assert status == ExitStatus.REGRESSION
    assert (row["verdict"], row["speed_verdict"]) == ("worse", "slower")
    assert row["speed_same"] == pytest.approx(1.1)


def test_the_title_names_the_folders_and_the_commits(tmp_path, capsys):
    a, b = folder(tmp_path / "a", runs([90.0])), folder(tmp_path / "b", runs([90.0]))
    assert comparing.compare(a, b, **NO_OPTIONS, form=OutputFormat.MARKDOWN) == ExitStatus.OK
    assert f"**A: {a} (commit abc), B: {b} (commit abc)**" in capsys.readouterr().out


def test_empty_folders_say_that_nothing_can_be_compared(tmp_path, capsys):
    assert (
        comparing.compare(str(tmp_path), str(tmp_path), **NO_OPTIONS, form=OutputFormat.RICH)
        == ExitStatus.NOTHING_MEASURED
    )
    assert capsys.readouterr().err.startswith("error: nothing can be compared")


def test_an_option_for_revisions_is_refused_with_folders(tmp_path):
    with pytest.raises(UserError, match="--epochs is for running two revisions"):
        comparing.compare(str(tmp_path), str(tmp_path), **{**NO_OPTIONS, "epochs": 3}, form=OutputFormat.RICH)


def test_rows_that_one_side_alone_has_are_told(capsys):
    kept, one, other = three_rows()[:1] + [
        replace(three_rows()[0], verdict=f"only in {side}", label=f"asge alpha={number}", failed_a=0, failed_b=0)
        for side, number in (("A", 1), ("B", 2))
    ]
    kept = replace(kept, verdict="identical", failed_a=0, failed_b=0)
    assert comparing.exit_status([kept, one, other], failed=False, what="x") == ExitStatus.OK
    assert capsys.readouterr().err.splitlines() == [
        f"note: only in A: asge alpha=1/{one.strategy}", f"note: only in B: asge alpha=2/{other.strategy}",
    ]  # fmt: skip


def test_settings_within_one_folder_are_compared_and_worse_is_no_regression(tmp_path, capsys):
    made = [each for rate in (0.1, 0.2) for each in runs([90.0 - 9 * rate, 91.0 - rate * 9.1], settings={"rate": rate})]
    where = folder(tmp_path / "a", made)
    status = comparing.compare(where, None, by=["asge.rate"], **NO_OPTIONS, form=OutputFormat.JSON)
    [row] = json.loads(capsys.readouterr().out)
    assert (status, row["verdict"]) == (ExitStatus.OK, "worse")
    assert row["label"] == "asge: rate=0.2 instead of rate=0.1"


@pytest.mark.parametrize(
    ("a", "b", "changes", "message"),
    [
        ("a", None, {}, "compare needs B too, or --by with a setting"),
        ("a", "a", {"by": ["epochs"]}, "--by takes one folder, and has no B"),
        ("a", None, {"by": ["epochs"], "seeds": 3}, "--seeds is for running two revisions; --by compares within"),
        ("nowhere", None, {"by": ["epochs"]}, "nowhere' does not exist"),
    ],
)
def test_by_is_for_one_folder(tmp_path, monkeypatch, a, b, changes, message):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "a", runs([90.0]))
    with pytest.raises(UserError, match=message):
        comparing.compare(a, b, **NO_OPTIONS | changes, form=OutputFormat.JSON)
