import json
import os
import socket
import subprocess
import sys
import time

import pytest

from bench.records import claims


def test_of_many_that_try_one_holds_the_cell(tmp_path):
    code = "import sys; from pathlib import Path; from bench.records import claims; "
    code += "print(int(claims.take(Path(sys.argv[1])) is not None), flush=True); sys.stdin.read()"
    others = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    said = [int(other.stdout.readline()) for other in others]
    assert sum(said) == 1
    assert claims.holder(tmp_path).process == others[said.index(1)].pid
    assert claims.take(tmp_path) is None
    for other in others:
        other.communicate()
    assert claims.holder(tmp_path) is None  # its process has ended without a word
    assert claims.take(tmp_path).path.name == "claim-2.json"


def test_released_it_is_free_and_nothing_is_left(tmp_path):
    claim = claims.take(tmp_path)
    assert claims.take(tmp_path) is None
    claim.release()
    assert list(tmp_path.iterdir()) == []
    assert claims.take(tmp_path) is not None


def somebody_elses(folder, seconds=0.0, number=1):
    """A claim of another machine, last touched some seconds ago."""
    path = folder / f"claim-{number}.json"
    path.write_text(json.dumps({"host": "elsewhere", "process": 1, "job": "7_3", "token": "x", "started": "boot 1"}))
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def test_one_of_another_machine_counts_until_it_is_not_touched_any_more(tmp_path):
    path = somebody_elses(tmp_path, claims.STALE_SECONDS - 30)
    assert claims.take(tmp_path) is None
    assert str(claims.holder(tmp_path)) == "job 7_3, process 1 on elsewhere"
    then = time.time() - claims.STALE_SECONDS - 30
    os.utime(path, (then, then))
    assert claims.holder(tmp_path) is None
    assert claims.last_holder(tmp_path)[1] is False
    claim = claims.take(tmp_path)
    assert claim.beat()
    claim.release()
    assert list(tmp_path.iterdir()) == []


def test_a_holder_that_was_only_slow_sees_that_another_has_it(tmp_path):
    slow = claims.take(tmp_path)
    assert slow.beat()
    other = somebody_elses(tmp_path, number=2)
    assert not slow.beat()
    slow.release()
    assert list(tmp_path.iterdir()) == [other]


def test_a_claim_that_was_released_and_taken_while_somebody_looked_is_left_alone(tmp_path, monkeypatch):
    somebody_elses(tmp_path, claims.STALE_SECONDS + 30)
    made = claims._made

    def slowly(folder, number):
        (tmp_path / "claim-1.json").unlink()
        assert made(folder, 1) is not None
        return made(folder, number)

    monkeypatch.setattr(claims, "_made", slowly)
    assert claims.take(tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["claim-1.json"]


def test_a_number_that_is_another_process_by_now_holds_nothing(tmp_path):
    path = claims.take(tmp_path).path
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "started": "another-boot 12"}))
    assert claims.holder(tmp_path) is None
    path.write_text(json.dumps({**content, "host": f"not-{socket.gethostname()}", "started": "another-boot 12"}))
    assert claims.holder(tmp_path) is not None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": 3}'])
def test_one_that_is_not_written_yet_holds_the_cell(tmp_path, content):
    (tmp_path / "claim-1.json").write_text(content)
    assert claims.take(tmp_path) is None
    assert claims.holder(tmp_path).host == "another machine"


def test_no_lock_is_asked_of_the_file_system(tmp_path, monkeypatch):
    def forbidden(*_):
        raise OSError("no locks here")

    monkeypatch.setattr("fcntl.flock", forbidden)
    monkeypatch.setattr("fcntl.lockf", forbidden)
    monkeypatch.setattr("os.link", forbidden)
    claim = claims.take(tmp_path)
    assert claim.beat()
    claim.release()
