"""The notebook example of the README, as it stands there."""

import re
from pathlib import Path

import pytest
from command_line import run_cells_here

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_example_of_the_readme_runs(tmp_path, monkeypatch):
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "quick").symlink_to(ROOT / "results" / "quick")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run_cells_here(monkeypatch)
    names = {}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102
    frame, accuracies = names["frame"], names["accuracies"]
    assert len(frame) == 3 * (3 + 1)  # seeds, and the strategies of both methods
    assert set(frame.status) == {"ok"}
    assert list(accuracies.seeds) == [3] * 4
    assert accuracies["mean"].between(10, 100).all()
    assert len(names["quick"]) == 9  # two seeds of three methods and of a control, one of CwC
    assert {check.verdict for check in names["verdicts"].checks} >= {"not measured"}
    assert names["verdicts"].frame().task.eq("digits").all()


@pytest.mark.parametrize("name", ["run", "load", "check", "Runs", "UserError", "Verdicts"])
def test_help_says_what_each_public_name_does(name):
    import bench

    text = getattr(bench, name).__doc__
    assert text
    assert text.splitlines()[0].endswith(".")
