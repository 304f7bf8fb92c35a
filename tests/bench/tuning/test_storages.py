"""Studies in a journal file and in PostgreSQL: several processes on one study, and killed processes."""

import contextlib
import itertools
import sys

import made_up
import postgresql
import pytest
import sqlalchemy
import warm
from sqlalchemy.pool import NullPool

from bench.running import local, rehearsal
from bench.tuning import study as studies

pytestmark = pytest.mark.timeout(900)  # it may have to install PostgreSQL

TUNE = ["asge", "digits", "--set", "asge.plan=tiny", "--epochs", "2"]
TUNE += ["--study", "study", "--promising", "0", "--pruner", "none", "--no-plots", "--out", "runs"]
BEGINS = "cell begins\n"
PATHS = ":".join(sys.path)


@pytest.fixture(scope="module")
def database():
    try:
        with postgresql.server() as url:
            yield url
    except postgresql.CannotStartError as error:
        pytest.skip(str(error))


@pytest.fixture
def start(kept, tmp_path):
    """Return a function that starts `bench tune` on the storage; remaining processes are killed at the end."""
    with contextlib.ExitStack() as started:

        def run(trials, **variables):
            arguments = [*TUNE, "--trials", str(trials), "--storage", kept]
            environment = {"PYTHONPATH": PATHS, "HOME": str(tmp_path), "PATH": "/usr/bin:/bin", **variables}
            process = warm.Process(arguments, cwd=tmp_path, env=environment, module="made_up")
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield run


@pytest.fixture
def here(kept, tmp_path, monkeypatch, capsys):
    """Return a function that runs `bench tune` on the storage in this process and returns its messages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for place, name in ((local, "run_cells"), (rehearsal, "rehearse")):  # made_up.py replaces them
        monkeypatch.setattr(place, name, getattr(place, name))

    def run(trials):
        status = made_up.main([*TUNE, "--trials", str(trials), "--storage", kept])
        said = capsys.readouterr().err
        assert status == 0, said
        return said

    return run


@pytest.fixture(params=["journal", "postgresql"])
def kept(request, tmp_path):
    """The value of --storage; an empty storage."""
    if request.param == "journal":
        return str(tmp_path / "studies.journal")
    url = request.getfixturevalue("database")
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("DROP SCHEMA public CASCADE"))
        connection.execute(sqlalchemy.text("CREATE SCHEMA public"))
    return url


def finish(process):
    said = process.stderr.read()
    assert process.wait() == 0, said
    return said


def trials(kept):
    return studies.loaded("study", studies.storage(kept)[0]).trials


@pytest.mark.slow
def test_a_study_whose_process_is_killed_goes_on_with_the_same_command(kept, start, here):
    killed = start(10, HANGS_AFTER="4")
    for _ in itertools.islice((line for line in killed.stderr if line == BEGINS), 5):
        pass
    killed.kill()
    killed.wait()
    assert [trial.state.name for trial in trials(kept)] == ["COMPLETE"] * 4 + ["RUNNING"]

    here(10)
    states = [trial.state.name for trial in trials(kept)]
    assert states == ["COMPLETE"] * 4 + ["FAIL"] + ["COMPLETE"] * 6
    dead, again = trials(kept)[4:6]
    assert dead.user_attrs["reason"] == studies.DIED
    assert again.user_attrs["settings"] == dead.params

    assert "trial" not in here(10)  # there is nothing left to do


@pytest.mark.slow
def test_two_processes_lose_no_trial_and_make_none_twice(kept, start, here):
    other = start(8)
    assert BEGINS in other.stderr  # reads until it does begin
    said = [here(8), finish(other)]
    found = trials(kept)
    assert [trial.state.name for trial in found] == ["COMPLETE"] * 8
    assert [trial.number for trial in found] == list(range(8))
    told = [line.split(":")[0] for text in said for line in text.splitlines() if line.startswith("trial ")]
    assert sorted(told) == [f"trial {number}" for number in range(8)]


@pytest.mark.slow
def test_a_storage_with_a_wrong_password_is_one_sentence(database):
    with pytest.raises(studies.UserError, match=r"storage 'postgresql://bench:\*\*\*@127\S+' does not answer: .*passw"):
        studies.storage(database.replace("bench:", "bench:x"))
