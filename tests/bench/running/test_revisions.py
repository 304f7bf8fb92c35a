"""Revisions of a small repository with a fake `bench`, then two real revisions of this checkout."""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from factories import record

from bench import records
from bench.cli import compare as comparing
from bench.cli.options import OutputFormat
from bench.errors import ExitStatus, UserError
from bench.running import revisions, worktrees

ROOT = Path(__file__).parents[3]
STAND_IN = """
import json, os, sys
from importlib.metadata import entry_points
methods = [entry.value for entry in entry_points(group="bench.methods")]
call = {"code": CODE, "arguments": sys.argv[1:], "methods": methods}
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps(call) + "\\n")
status, said = json.loads(os.environ.get("ENDS", "{}")).get(CODE, [0, ""])
print(said, file=sys.stderr)
sys.exit(status)
"""
PROJECT = """
[project]
name = "local-learning-bench"
version = "7"
[project.entry-points."bench.methods"]
one = "module:CODE"
"""
SUITE = """
tasks = ["digits"]
epochs = 1
batch_size = 64
loader = "memory"
[methods.asge]
plan = "8,M,16"
"""

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")


def git(folder, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def list_worktrees(folder):
    return git(folder, "worktree", "list").splitlines()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Two commits, `old` and `new`; their arguments are written to `calls`."""
    folder = tmp_path / "repository"
    (folder / "bench" / "suites").mkdir(parents=True)
    (folder / "bench" / "__init__.py").touch()
    git(folder, "init", "--quiet")
    for name, methods in (("old", "asge ff cwc"), ("new", "asge ff backprop")):
        (folder / "bench" / "__main__.py").write_text(STAND_IN.replace("CODE", repr(name)))
        (folder / "pyproject.toml").write_text(PROJECT.replace("CODE", name))
        suite = "\n".join(f"[methods.{method}]" for method in methods.split())
        (folder / "bench" / "suites" / "smoke.toml").write_text(suite)
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", name)
        git(folder, "tag", name)
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    yield folder
    assert list_worktrees(folder) == [line for line in list_worktrees(folder) if line.startswith(f"{folder} ")]
    assert not list((tmp_path / "temporary").iterdir())


def calls(tmp_path):
    return [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]


def run(repository, tmp_path, **changes):
    said = []
    arguments = {"suite": "smoke", "methods": None, "seeds": 2, "out": tmp_path / "out", "say": said.append} | changes
    return revisions.run_interleaved(repository, "old", "new", **arguments), said


def test_the_revisions_take_turns_each_with_its_own_code(repository, tmp_path):
    done, said = run(repository, tmp_path, options=["--threads", "1"])
    made = calls(tmp_path)
    turns = [(call["code"], *(call["arguments"][i] for i in (3, 5)), call["arguments"][10]) for call in made]
    a, b, again = (str(tmp_path / "out" / name) for name in ("a", "b", "a-again"))
    assert turns == [
        ("old", "asge", "1", a), ("new", "asge", "1", b), ("old", "asge", "1", again),
        ("old", "ff", "1", a), ("new", "ff", "1", b), ("old", "ff", "1", again),
        ("new", "asge", "2", b), ("old", "asge", "2", a),
        ("new", "ff", "2", b), ("old", "ff", "2", a),
    ]  # fmt: skip
    assert made[0]["arguments"] == [
        "run", "smoke", "--methods", "asge", "--seeds", "1", "--no-plots", "--format", "json", "--out", a,
        "--threads", "1",
    ]  # fmt: skip
    assert {(call["code"], *call["methods"]) for call in made} == {("old", "module:old"), ("new", "module:new")}
    assert [call.problem for call in done] == [""] * 10
    assert said[:2] == ["note: left out, in A (old) only: cwc", "note: left out, in B (new) only: backprop"]
    assert re.fullmatch(r"\[3/10\] A \(old\) once more: asge, seed 0: \d+ s", said[4])


def test_a_suite_file_is_the_callers_and_methods_may_be_named(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text("[methods.asge]\n[methods.cwc]\n")
    run(repository, tmp_path, suite="mine.toml", methods=("cwc",), seeds=1, again=False)
    assert [call["arguments"][1:4] for call in calls(tmp_path)] == 2 * [
        [str(tmp_path / "mine.toml"), "--methods", "cwc"]
    ]


def test_a_failing_revision_does_not_stop_the_other(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("ENDS", json.dumps({"new": [3, "some line\nerror: it broke\nlast line"]}))
    done, said = run(repository, tmp_path, seeds=1, methods=("asge",))
    assert [(call.side, call.problem) for call in done] == [
        ("a", ""), ("b", "failed, status 3: it broke"), ("a-again", ""),
    ]  # fmt: skip
    assert said[1].endswith("B (new): asge, seed 0: failed, status 3: it broke")


def test_input_that_a_revision_refuses_is_the_users_error(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("ENDS", json.dumps({"new": [2, "error: unknown method 'x'"]}))
    with pytest.raises(UserError, match=re.escape("revision B (new) rejects the run: unknown method 'x'")):
        run(repository, tmp_path)
    assert len(calls(tmp_path)) == 2


def test_an_interruption_leaves_no_worktree(repository, tmp_path, monkeypatch):
    def interrupted(*_):
        assert len(list_worktrees(repository)) == 3
        raise KeyboardInterrupt

    monkeypatch.setattr(revisions, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(repository, tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"suite": "smok"}, "unknown suite of revision A (old) 'smok': did you mean 'smoke'?"),
        ({"suite": "nowhere.toml"}, "suite file 'nowhere.toml' does not exist"),
        ({"seeds": 0}, "--seeds must be at least 1, got 0"),
    ],
)
def test_bad_input_is_found_before_anything_runs(repository, tmp_path, changes, words):
    with pytest.raises(UserError, match=re.escape(words)):
        run(repository, tmp_path, **changes)
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize("revision", ["nowhere", "--all", "HEAD~9", ""])
def test_what_is_no_revision_is_named(repository, revision):
    with pytest.raises(UserError, match=re.escape(f"{revision!r} is not a git revision of this checkout; valid are")):
        worktrees.resolve(repository, revision)


def test_records_of_other_code_are_not_taken_for_a_revisions_own(repository, tmp_path):
    other = record()
    target = tmp_path / "out" / "b" / other.id
    target.mkdir(parents=True)
    records.write(target / records.RECORD_FILE, other)
    with pytest.raises(UserError, match=r"has records of commit abc, not of .*--out"):
        run(repository, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_revisions_of_this_checkout(tmp_path, monkeypatch, capsys):
    if not (ROOT / ".git").exists():
        pytest.skip("the tests do not run from a git checkout")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--shared", str(ROOT), str(clone))
    changed = clone / "asge" / "settings.py"
    text, count = re.subn(r"(\n    weight_decay: \w+ = )[\d.e-]+", r"\g<1>0.0625", changed.read_text())
    assert count == 1
    changed.write_text(text)
    git(clone, "commit", "--quiet", "--all", "-m", "another default")
    (tmp_path / "mine.toml").write_text(SUITE)
    monkeypatch.chdir(tmp_path)
    said = []
    done = revisions.run_interleaved(
        clone, "HEAD~1", "HEAD", suite="mine.toml", methods=None, seeds=1, out=tmp_path / "out",
        options=["--threads", "1"], again=False, say=said.append,
    )  # fmt: skip
    assert [call.problem for call in done] == ["", ""], said
    [a], [b] = (records.read_all(tmp_path / "out" / side).records for side in ("a", "b"))
    assert [a.code.commit, b.code.commit] == git(clone, "rev-parse", "HEAD~1", "HEAD").splitlines()
    assert a.code.dirty is b.code.dirty is False
    assert a.cell.settings["weight_decay"] != b.cell.settings["weight_decay"] == 0.0625
    assert len(list_worktrees(clone)) == 1

    folders = [str(tmp_path / "out" / side) for side in ("a", "b")]
    status = comparing.compare(
        *folders,
        suite=None,
        methods=None,
        seeds=None,
        epochs=None,
        threads=None,
        data_dir=None,
        out=None,
        form=OutputFormat.MARKDOWN,
    )
    assert status == ExitStatus.OK
    assert "0.0625 in B" in capsys.readouterr().out
