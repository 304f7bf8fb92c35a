"""Boards by hand: which strategy, which place, what is told apart, and the page."""

import json
import math
import statistics

import browser
import pytest
from factories import record
from scipy import stats

from bench.cli import app
from bench.errors import UserError
from bench.report import leaderboard, page


def keep(folder, *records):
    for each in records:
        (folder / each.id).mkdir(parents=True)
        (folder / each.id / "record.json").write_text(each.model_dump_json())


def games_howell(a, b, groups):
    """The p-value of a pair, by the formula."""
    squares = [statistics.variance(values) / len(values) for values in (a, b)]
    freedom = sum(squares) ** 2 / sum(s**2 / (len(v) - 1) for s, v in zip(squares, (a, b), strict=True))
    distance = abs(statistics.fmean(a) - statistics.fmean(b)) / math.sqrt(sum(squares) / 2)
    return stats.studentized_range.sf(distance, groups, freedom)


def test_runs_that_cannot_be_told_apart_share_a_place():
    values = {
        "first": [90.0, 90.2, 90.4], "second": [89.9, 90.1, 90.6],
        "third": [80.0, 80.3, 80.1], "fourth": [79.0, 81.5, 80.0], "alone": [99.0],
    }  # fmt: skip
    tested = {name: each for name, each in values.items() if len(each) > 1}
    for low, high, apart in (("second", "first", False), ("third", "second", True), ("fourth", "third", False)):
        assert (games_howell(values[low], values[high], len(tested)) < 0.05) == apart
    assert games_howell(values["fourth"], values["first"], len(tested)) < 0.05
    assert leaderboard.places(values) == {"first": (1, 2), "second": (1, 2), "third": (3, 4), "fourth": (3, 4)}


def test_a_single_run_with_several_seeds_has_no_place():
    assert leaderboard.places({"one": [90.0, 91.0], "other": [80.0]}) == {}


def test_equal_values_are_not_told_apart():
    assert leaderboard.places({"one": [90.0, 90.0], "other": [80.0, 80.0]}) == {"one": (1, 2), "other": (1, 2)}


@pytest.fixture
def runs(tmp_path):
    """Two methods with two seeds in one folder, a third with one in another."""
    for seed in range(2):
        asge = record(seed=seed, accuracies={"last": 90.0 + seed / 10, "best": 95.0 + seed / 10})
        asge.epochs[-1].validation.update({"last": 80.0, "best": 70.0})
        keep(tmp_path / "a", asge, record("ff", seed=seed, accuracies={"goodness": 60.0 + seed / 10}))
    keep(tmp_path / "b", record("cwc", accuracies={"goodness": 85.0}))
    return tmp_path


def test_the_strategy_is_chosen_on_validation_images(runs):
    [board] = leaderboard.boards(["a+b"], runs)
    assert [(line.label, line.strategy, line.accuracies) for line in board.lines] == [
        ("asge", "last", (90.0, 90.1)), ("cwc", "goodness", (85.0,)), ("ff", "goodness", (60.0, 60.1)),
    ]  # fmt: skip
    assert [(line.place, line.lowest) for line in board.lines] == [(1, 1), (None, None), (2, 2)]
    assert [line.cells[0] for line in board.lines] == ["1", "-", "2"]
    assert board.notes == ["asge is ahead (5 % for all pairs together). Runs with one seed have no place."]


def test_a_folder_of_folders_has_a_board_for_each_with_several_methods(runs):
    assert [board.folders for board in leaderboard.boards(["."], runs)] == [("a",)]
    (runs / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no task has runs of several methods"):
        leaderboard.boards(["empty"], runs)
    with pytest.raises(UserError, match="folder c does not exist"):
        leaderboard.boards(["a+c"], runs)


def test_the_command_prints_it_and_writes_a_page(runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    assert app.main(["leaderboard", "a+b", "--format", "json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert [(line["place"], line["method"]) for line in lines] == [("1", "asge"), ("-", "cwc"), ("2", "ff")]
    assert app.main(["leaderboard", "a+b", "--out", "new/board.html"]) == 0
    text = (runs / "new" / "board.html").read_text()
    assert text == page.leaderboard(leaderboard.boards(["a+b"]))
    assert "asge is ahead" in text
    assert text.count('<circle class="mean"') == 3
    assert app.main(["leaderboard", "nowhere"]) == 2


@pytest.mark.slow
def test_axe_finds_nothing_that_shuts_people_out(runs):
    file = runs / "board.html"
    file.write_text(page.leaderboard(leaderboard.boards(["a+b"], runs)), encoding="utf-8")
    assert browser.violations(file) == []
