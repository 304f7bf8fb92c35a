"""Which files a cell's computation imports, and what changes its fingerprint."""

import sys

import pytest
from factories import cell

from bench import registry
from bench.records import sources

FORGET = (sources._fingerprint, sources._followed, sources._place, sources._file, sources._source)


@pytest.fixture(autouse=True)
def afresh():
    """What was read of files is forgotten before and after, as at the start of a process."""
    for function in FORGET:
        function.cache_clear()
    yield
    for function in FORGET:
        function.cache_clear()


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """A package `toys` with a method in `toys.method`, found as if it were installed; a function that writes a file."""
    package = tmp_path / "toys"
    package.mkdir()

    def write(name, text):
        (package / name).write_text(text)
        for function in FORGET:
            function.cache_clear()

    write("__init__.py", "from toys.layer import Layer as Shown\nfrom toys.plot import draw\n")
    write("layer.py", "from toys.rate import RATE\nclass Layer:\n    rate = RATE\n")
    write("rate.py", "RATE = 0.1\n")
    write("plot.py", "def draw():\n    return 1\n")
    write("method.py", "import helpers\nfrom toys import Shown\nclass Toy:\n    layer = Shown\n")
    (tmp_path / "helpers.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    known = registry.entry

    def entry(group, name):
        if (group, name) == ("bench.methods", "toy"):
            return registry.EntryPoint("toy", "toys.method:Toy", group)
        return known(group, name)

    monkeypatch.setattr(registry, "entry", entry)
    return write


def test_a_name_leads_to_the_module_that_defines_it_and_not_to_all_of_its_package(toys):
    assert sources.modules(["toys.method"], ["toys"]) == ["helpers", "toys.layer", "toys.method", "toys.rate"]
    assert "toys" not in sys.modules


@pytest.mark.parametrize(
    ("file", "text", "changes"),
    [
        ("rate.py", "RATE = 0.2\n", True),
        ("rate.py", '"""The rate."""\n\n# twice as much was tried\nRATE = 0.1\n', False),
        ("rate.py", 'RATE = 0.1\nTEXT = """\n# no comment\n"""\n', True),
        ("plot.py", "def draw():\n    return 2\n", False),
        ("method.py", "import helpers\nfrom toys import Shown\nclass Toy:\n    layer = None\n", True),
        ("rate.py", "def half a sentence", True),
    ],
)
def test_a_plug_in_is_its_files_as_far_as_it_imports_them(toys, file, text, changes):
    before = sources.computation(cell("toy"))
    assert before is not None
    toys(file, text)
    assert (sources.computation(cell("toy")) != before) == changes


def test_a_file_beside_it_counts(toys, tmp_path):
    before = sources.computation(cell("toy"))
    (tmp_path / "helpers.py").write_text("X = 2\n")
    toys("plot.py", "")
    assert sources.computation(cell("toy")) != before


def test_relative_imports_and_those_for_type_checkers(toys):
    toys("method.py", "from typing import TYPE_CHECKING\nfrom . import rate\nif TYPE_CHECKING:\n    import toys.plot\n")
    assert sources.modules(["toys.method"], ["toys"]) == ["toys.method", "toys.rate"]
    toys("method.py", "def late():\n    from .layer import Layer\n    return Layer\n")
    assert sources.modules(["toys.method"], ["toys"]) == ["toys.layer", "toys.method", "toys.rate"]


def test_a_method_that_is_not_installed_cannot_be_known():
    assert sources.computation(cell("nowhere")) is None


def test_what_a_method_imports_and_what_it_does_not():
    cwc = sources.modules([*sources.TRAINS, "baselines.cwc"])
    assert {"baselines.cwc_layer", "asge.common.optimisers", "bench.running.training", "bench.seeds"} <= set(cwc)
    others = ("asge.step", "asge.learner", "baselines.backprop", "bench.report", "bench.cli", "bench.records", "tests")
    assert not [name for name in cwc if name.startswith(others)]


def test_a_loader_counts_where_it_loads():
    of_ffcv = sources.modules(sources.TRAINS, without=sources.CARRIES)
    assert "bench.data.ffcv.loader" in of_ffcv
    assert sources.computation(cell(loader="memory")) != sources.computation(cell(loader="ffcv"))


def test_the_yardstick_and_the_start_count():
    from bench.records import Start, Yardstick

    alone = sources.computation(cell("cwc", yardstick=None))
    assert sources.computation(cell("cwc", yardstick=Yardstick(method="backprop", settings={}))) != alone
    assert sources.computation(cell("cwc", yardstick=None, start=Start(method="ff", settings={}, epochs=1))) != alone
