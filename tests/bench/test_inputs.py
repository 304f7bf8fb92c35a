from pathlib import Path

import pytest

from bench.inputs import cache_root


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"BENCH_CACHE": "/b", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/b/local-learning-bench"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/local-learning-bench"),
        ({"BENCH_CACHE": "", "HOME": "/h"}, "/h/.cache/local-learning-bench"),
        ({"BENCH_CACHE": "~/c", "HOME": "/h"}, "/h/c/local-learning-bench"),
    ],
)
def test_cache_root(variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BENCH_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_root() == Path(expected)
