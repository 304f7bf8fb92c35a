import math
import statistics

import pandas as pd
import pytest
from command_line import SUITE, run_cells_here
from factories import record
from matplotlib.figure import Figure

import bench
from bench import records
from bench.api import Runs
from bench.records import Found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A suite that was run from Python, with the cells in this process."""
    here = tmp_path_factory.mktemp("api")
    (here / "mine.toml").write_text(SUITE)
    return here


@pytest.fixture(scope="module")
def runs(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(folder / "cache"))
        patch.setenv("BENCH_REFERENCE", str(folder / "reference"))
        run_cells_here(patch)
        return bench.run(
            str(folder / "mine.toml"), methods=["asge"], seeds=2, epochs=1, threads=1,
            settings={"asge": {"alpha": 0.5}}, out=folder / "runs",
        )  # fmt: skip


def test_a_run_gives_its_records(runs, folder):
    assert [(one.cell.method, one.cell.seed, one.status) for one in runs] == [("asge", 0, "ok"), ("asge", 1, "ok")]
    assert {one.cell.settings["alpha"] for one in runs} == {0.5}
    assert runs.problems == []
    assert repr(runs) == f"Runs({str(folder / 'runs')!r}: 2 records)"
    assert {check.verdict for check in runs.checks} == {"no reference"}


def test_a_folder_that_is_loaded_holds_the_same_records(runs, folder):
    loaded = bench.load(folder / "runs")
    assert sorted(one.id for one in loaded) == sorted(one.id for one in runs)
    assert loaded.checks == ()


def test_a_cells_options_stand_in_its_folder(runs, folder):
    for one in runs:
        options = records.read_options(folder / "runs" / one.id / records.OPTIONS_FILE) if _has(folder, one) else None
        assert options is None or options.suite == "mine"


def _has(folder, one):
    return (folder / "runs" / one.id / records.OPTIONS_FILE).is_file()


def made_up():
    """Two settings of ASGE with two seeds each, and a cell that diverged."""
    good = [
        record(settings={"alpha": alpha}, seed=seed, accuracies={"last": 80.0 + 2 * seed + alpha, "best": 90.0})
        for alpha in (0.5, 1.0)
        for seed in (0, 1)
    ]
    return Runs("runs", Found([*good, record("cwc", status="diverged")]))


def test_a_frame_has_a_row_per_strategy_and_seed():
    frame = made_up().frame()
    good = frame[frame.status == "ok"]
    assert len(good) == 2 * 2 * 2
    assert sorted(good.accuracy[good.strategy == "last"]) == [80.5, 81.0, 82.5, 83.0]
    assert sorted(set(good.run)) == ["asge alpha=0.5", "asge alpha=1.0"]
    assert set(good.alpha) == {0.5, 1.0}
    assert list(frame.status[frame.method == "cwc"]) == ["diverged"] * 3
    assert "weights" not in frame
    assert "cell" in frame


def test_accuracies_are_means_with_intervals():
    table = made_up().accuracies().set_index(["task", "run", "strategy"])
    task = table.index[0][0]
    line = table.loc[(task, "asge alpha=0.5", "last")]
    assert line["mean"] == pytest.approx(81.5)
    # Student's t for one degree of freedom at 97.5 %: tan(0.475 pi)
    assert line.half_width == pytest.approx(math.tan(0.475 * math.pi) * statistics.stdev([80.5, 82.5]) / math.sqrt(2))
    assert line.seeds == 2
    assert len(table) == 4


def test_nothing_at_all_gives_empty_frames():
    empty = Runs("runs", Found([]))
    assert empty.frame().empty
    assert isinstance(empty.accuracies(), pd.DataFrame)
    assert empty.plot() == {}


def test_figures_come_back_by_name():
    figures = made_up().plot("accuracy-by-seed")
    [(name, figure)] = figures.items()
    assert name.endswith("-accuracy-by-seed")
    assert isinstance(figure, Figure)
    with pytest.raises(bench.UserError, match="did you mean 'accuracy-by-seed'"):
        made_up().plot("accuracy-by-seeds")


def test_a_notebook_shows_the_accuracies():
    html = made_up()._repr_html_()
    assert "asge alpha=0.5" in html
    assert "81.50" in html


def test_a_check_gives_verdicts(runs, folder, monkeypatch):
    monkeypatch.setenv("BENCH_REFERENCE", str(folder / "reference"))
    verdicts = bench.check(str(folder / "mine.toml"), runs=folder / "runs")
    assert not verdicts.ok
    assert verdicts.status == 4
    assert set(verdicts.frame().verdict) == {"not measured"}


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"suite": "smok"}, "did you mean 'smoke'"),
        ({"suite": "smoke", "methods": ["asgee"]}, "did you mean 'asge'"),
        ({"suite": "smoke", "settings": {"asge": {"alhpa": 3}}}, "did you mean 'alpha'"),
        ({"suite": "smoke", "methods": [1]}, "is not a list of names"),
        ({"suite": "smoke", "device": "gpu"}, "is not a device"),
    ],
)
def test_bad_input_is_one_sentence(keywords, words, tmp_path):
    with pytest.raises(bench.UserError, match=words) as error:
        bench.run(**keywords, out=tmp_path / "runs")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "runs").exists()


def test_an_unknown_keyword_is_an_error():
    with pytest.raises(TypeError, match="sedes"):
        bench.run("smoke", sedes=3)
