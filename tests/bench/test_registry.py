from importlib.metadata import EntryPoint

import pytest

from bench import methods, registry
from bench.errors import UserError


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    def register(source):
        (tmp_path / "plugged.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        entry = EntryPoint("mine", "plugged:Mine", methods.GROUP)
        monkeypatch.setattr(registry, "_entries", lambda group: {"mine": entry})
        monkeypatch.delitem(__import__("sys").modules, "plugged", raising=False)

    return register


def test_a_method_of_another_package_is_found_by_its_entry_point(plug_in):
    plug_in("class Mine:\n    Settings = dict\n    strategies = ()\n    build = None\n")
    assert methods.names() == ["mine"]
    assert methods.get("mine").strategies == ()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise RuntimeError('no licence')", "'plugged:Mine', which cannot be imported: RuntimeError: no licence"),
        ("Other = 1", "AttributeError"),
        ("class Mine(:", "SyntaxError"),
        ("class Mine:\n    Settings = dict\n    build = None\n", "method 'mine' has no 'strategies'"),
    ],
)
def test_a_plug_in_that_does_not_work_is_named(plug_in, source, message):
    plug_in(source)
    with pytest.raises(UserError, match=message):
        methods.get("mine")
