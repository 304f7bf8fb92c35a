import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.data.sets.fetchers import FetchError
from bench.data.sets.files import DataFile, FileStatus
from bench.data.sets.sources import fetch, find, locate, verify
from bench.data.sets.tasks import DIGITS, Task
from bench.errors import UserError

CONTENTS = {"toy/one": b"first", "toy/two": b"second"}
FILES = tuple(
    DataFile(path, hashlib.md5(content, usedforsecurity=False).hexdigest(), len(content))
    for path, content in CONTENTS.items()
)


@dataclass
class FakeFetcher:
    """Writes its files; then fails, if told to."""

    name: str
    contents: Mapping[str, bytes]
    failure: BaseException | None = None
    calls: list[Path] = field(default_factory=list)

    def __call__(self, destination: Path) -> None:
        assert list(destination.iterdir()) == []
        self.calls.append(destination)
        for path, content in self.contents.items():
            (destination / path).parent.mkdir(exist_ok=True)
            (destination / path).write_bytes(content)
        if self.failure is not None:
            raise self.failure


def _put(root: Path, contents: Mapping[str, bytes] = CONTENTS) -> Path:
    for path, content in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def _visible(root: Path) -> dict[str, bytes]:
    """All files except the lock."""
    found = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    found.pop(".toy.lock", None)
    return found


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "local-learning-bench" / "data"


@pytest.fixture
def toy(colours: Task) -> Task:
    return replace(colours, name="toy", files=FILES)


def test_data_dir_comes_before_variable_before_cache(
    toy: Task, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find(toy) is None
    assert locate(toy, _put(tmp_path / "option")) == tmp_path / "option"
    _put(cache)
    assert locate(toy) == find(toy) == cache
    monkeypatch.setenv("BENCH_DATA", str(_put(tmp_path / "variable")))
    assert locate(toy) == find(toy) == tmp_path / "variable"
    assert locate(toy, tmp_path / "option") == find(toy, tmp_path / "option") == tmp_path / "option"


def test_a_chosen_folder_is_not_filled_unasked(toy: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetcher = FakeFetcher("fake", CONTENTS)
    task = replace(toy, fetchers=(fetcher,))
    chosen = _put(tmp_path / "chosen", {"toy/one": b"first"})
    with pytest.raises(UserError, match=r"--data-dir is .*chosen, which lacks toy/two of toy: .*`bench data get toy`"):
        locate(task, chosen)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"BENCH_DATA is .*nowhere, which lacks toy/one of toy"):
        locate(task)
    assert fetcher.calls == []


def test_fetchers_are_tried_in_turn_into_the_cache(toy: Task, cache: Path) -> None:
    half = FakeFetcher("half", {"toy/one": b"first"}, FetchError("line went dead"))
    damaged = FakeFetcher("damaged", {"toy/one": b"first", "toy/two": b"sec"})
    whole = FakeFetcher("whole", {**CONTENTS, "toy/other": b"not wanted"})
    never = FakeFetcher("never", CONTENTS)
    assert locate(replace(toy, fetchers=(half, damaged, whole, never))) == cache
    assert [len(fetcher.calls) for fetcher in (half, damaged, whole, never)] == [1, 1, 1, 0]
    assert _visible(cache) == CONTENTS


def test_when_all_fail_the_error_says_what_was_tried(toy: Task, cache: Path) -> None:
    half = FakeFetcher("half", {"toy/one": b"first"}, FetchError("line went dead"))
    damaged = FakeFetcher("other", {"toy/one": b"first", "toy/two": b"sec"})
    with pytest.raises(UserError) as caught:
        locate(replace(toy, fetchers=(half, damaged)))
    message = str(caught.value)
    assert "toy needs toy/one, which is missing" in message
    assert "half: line went dead; other: toy/two damaged (truncated: 3 bytes of 6)" in message
    assert "`bench data get toy`" in message
    assert "BENCH_DATA" in message
    assert _visible(cache) == {}


def test_interrupted_fetch_leaves_nothing(toy: Task, cache: Path) -> None:
    interrupted = FakeFetcher("interrupted", {"toy/one": b"first"}, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        fetch(replace(toy, fetchers=(interrupted,)))
    assert _visible(cache) == {}


def test_leftovers_of_a_killed_fetch_go(toy: Task, cache: Path) -> None:
    _put(cache / ".toy.fetch-killed", {"toy/one": b"fir"})
    fetch(replace(toy, fetchers=(FakeFetcher("whole", CONTENTS),)))
    assert _visible(cache) == CONTENTS


def test_fetch_replaces_damaged_files_only_if_there_are_any(toy: Task, tmp_path: Path) -> None:
    fetcher = FakeFetcher("whole", CONTENTS)
    task = replace(toy, fetchers=(fetcher,))
    chosen = _put(tmp_path / "chosen")
    fetch(task, chosen)
    assert fetcher.calls == []
    (chosen / "toy/two").write_bytes(b"sec")
    fetch(task, chosen)
    assert len(fetcher.calls) == 1
    assert _visible(chosen) == CONTENTS


def test_fetchers_at_the_same_time_take_turns(toy: Task, cache: Path) -> None:
    fetcher = FakeFetcher("whole", CONTENTS)
    task = replace(toy, fetchers=(fetcher,))
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: fetch(task), range(4))) == {cache}
    assert len(fetcher.calls) == 1


def test_folder_that_cannot_be_written(toy: Task, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"toy cannot be written to .*file/data"):
        fetch(toy, tmp_path / "file" / "data")


def test_verify_lists_every_file(toy: Task, tmp_path: Path) -> None:
    root = _put(tmp_path / "data", {"toy/one": b"fi"})
    assert verify(toy, root) == [
        FileStatus("toy/one", "damaged", "truncated: 2 bytes of 5"),
        FileStatus("toy/two", "missing", "no such file"),
    ]


def test_tasks_without_files_are_always_there(cache: Path) -> None:
    foreign: Any = SimpleNamespace(name="foreign")
    for task in (DIGITS, foreign):
        assert locate(task) == fetch(task) == find(task) == cache
        assert verify(task) == []
    assert not cache.exists()


def test_a_standing_folder_without_any_file_of_the_task_is_passed_over(
    toy: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "standing").mkdir()
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "standing"))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    task = replace(toy, fetchers=(FakeFetcher("fake", CONTENTS),))
    assert tmp_path / "cache" in locate(task).parents
    assert list((tmp_path / "standing").iterdir()) == []
    _put(tmp_path / "standing", {"toy/one": b"first"})
    with pytest.raises(UserError, match=r"BENCH_DATA is .*standing, which lacks toy/two"):
        locate(task)
