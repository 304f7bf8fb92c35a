"""A few of the fuzzed cases with every run of the tests; `python tests/fuzz/commands.py` tries a thousand."""

import os
import shutil

import commands
import pytest
from commands import Answer

from bench.errors import UserError
from bench.records import files
from bench.suites import file as suites


def test_broken_input_is_answered(tmp_path, monkeypatch):
    slow = (commands._plot, commands._report)
    quick = [maker for maker in commands.READERS_OF_RECORDS if maker not in slow]
    monkeypatch.setattr(commands, "READERS_OF_RECORDS", quick)
    wrong = {
        number: (case, found, answer.err)
        for number, case, answer, _ in commands.tried(range(40), 2, tmp_path, seconds=None)
        if (found := commands.problem(answer))
    }
    assert wrong == {}


def test_whole_input_is_fine_before_anything_is_broken(tmp_path):
    commands.build(tmp_path)
    for arguments in (
        ["table", "runs"],
        ["fill", "page.md"],
        ["run", "suite.toml", "--unequal-budgets", "--dry-run"],
        ["run", "begun.toml", "--dry-run"],
        ["describe", "other"],
    ):
        answer = commands.run(arguments, tmp_path, seconds=None)
        assert (answer.status, answer.err) == (0, ""), arguments


def test_a_name_that_is_not_utf8_is_printed_nevertheless(tmp_path):
    commands.build(tmp_path)
    answer = commands.run(["run", "begun.toml", "--dry-run", "--out", os.fsdecode(b"\xff")], tmp_path, seconds=None)
    assert answer.status == 0
    assert "cells are finished in \\udcff" in answer.out


def test_equal_seeds_make_equal_cases(tmp_path):
    commands.build(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    made = [commands.case(17, 3, tmp_path / name) for name in "ab"]
    assert made[0] == made[1]
    texts = [
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in "ab"
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (Answer(0, "a table", ""), ""),
        (Answer(2, "", "error: no such file\n"), ""),
        (Answer(2, "", "note: an older record\nerror: no such file\n"), ""),
        (Answer(70, "", "Traceback (most recent call last):\n"), "exit status 70"),
        (Answer(3, "", "Traceback (most recent call last):\n"), "a traceback"),
        (Answer(2, "", ""), "1 lines instead of one sentence"),
        (Answer(2, "", "error: \n"), "instead of one sentence"),
        (Answer(2, "", "error: first\nsecond\n"), "2 lines instead of one sentence"),
        (Answer(-1, "", ""), "no answer"),
    ],
)
def test_what_is_wrong_with_an_answer(answer, wrong):
    found = commands.problem(answer)
    assert wrong in found
    assert bool(found) == bool(wrong)


@pytest.mark.parametrize("depth", [150, 5000, 100_000])
def test_lists_in_lists_without_end_are_one_sentence(tmp_path, depth):
    nested = "[" * depth + "]" * depth
    for path, text, read in (
        (tmp_path / "record.json", f'{{"schema_version": {nested}}}', files.read),
        (tmp_path / "suite.toml", f"seeds = {nested}", lambda path: suites.load(str(path))),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=path.name):
            read(path)
