"""The example of a figure: the page shows it, its entry point fits, and it draws made-up records."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from factories import record
from matplotlib.figure import Figure

from bench import registry
from bench.report import figures
from bench.testing import check_figure

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "add-a-figure.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "docs" / "examples" / "loss_by_epoch.py"


def block(language):
    [found] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture(scope="module")
def draw():
    [(name, value)] = tomllib.loads(block("toml"))["project"]["entry-points"]["bench.figures"].items()
    assert name == "loss-by-epoch"
    module, _, function = value.partition(":")
    assert module == EXAMPLE.stem
    spec = importlib.util.spec_from_file_location(module, EXAMPLE)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return getattr(loaded, function)


@pytest.fixture
def registered(draw, monkeypatch):
    monkeypatch.setattr(registry, "names", lambda group: ["loss-by-epoch"] if group == figures.GROUP else [])
    monkeypatch.setattr(registry, "load", lambda group, kind, name: draw)


def test_the_page_shows_the_example():
    assert block("python") == EXAMPLE.read_text(encoding="utf-8")


def test_it_draws_the_losses_of_every_seed_in_the_color_of_their_name(draw):
    runs = [("asge", record(seed=0)), ("asge", record(seed=1)), ("cwc", record("cwc"))]
    figure = draw(runs, {"asge": "blue", "cwc": "red"})
    assert isinstance(figure, Figure)
    [axes] = figure.axes
    assert [line.get_color() for line in axes.lines] == ["blue", "blue", "red"]
    assert [line.get_xydata().tolist() for line in axes.lines] == [[[1.0, 1.0], [2.0, 0.5]]] * 3
    assert [text.get_text() for text in axes.get_legend().texts] == ["asge", "cwc"]
    assert axes.get_title() == "Training loss: fashion-mnist"


def test_it_draws_nothing_of_single_epochs(draw):
    short = record()
    short = short.model_copy(update={"epochs": short.epochs[:1]})
    assert draw([("asge", short)], {"asge": "blue"}) is None


@pytest.mark.usefixtures("registered")
def test_it_passes_the_contract_and_is_drawn_among_the_others():
    assert {result.status for result in check_figure("loss-by-epoch")} == {"passed"}
    [(name, _)] = figures.drawn([record()], {"loss-by-epoch"})
    assert name == "fashion-mnist-loss-by-epoch"
