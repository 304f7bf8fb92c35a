from factories import record

from bench import figures

PNG = b"\x89PNG\r\n\x1a\n"


def test_every_figure_of_every_task_is_drawn(tmp_path):
    records = [
        record("asge", accuracies={"last": 90.0, "best": 91.0}),
        record("backprop", accuracies={"logits": 92.0}),
        record("ff", task="digits", accuracies={"goodness": 80.0}),
    ]
    paths = figures.draw_all(records, tmp_path)
    assert sorted(path.name for path in paths) == sorted(
        f"{task}-{name}.png" for task in ("digits", "fashion-mnist") for name in figures.FIGURES
    )
    assert all(path.read_bytes()[:8] == PNG for path in paths)
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_records_that_failed_leave_no_figure(tmp_path):
    assert figures.draw_all([record(status="failed")], tmp_path / "new") == []
    assert not (tmp_path / "new").exists()


def test_lines_of_a_sweep_follow_its_settings_strategy_by_strategy():
    def run(alpha, seed, last, best):
        settings = {"plan": "tiny", "alpha": alpha}
        return f"asge alpha={alpha}", record(seed=seed, settings=settings, accuracies={"last": last, "best": best})

    runs = [run(2.0, 0, 70.0, 80.0), run(0.5, 0, 71.0, 81.0), run(2.0, 1, 72.0, 82.0), run(10.0, 0, 1.0, 2.0)]
    assert list(figures.seeds_by_line(runs).items()) == [
        (("asge alpha=0.5", "last"), [71.0]),
        (("asge alpha=2.0", "last"), [70.0, 72.0]),
        (("asge alpha=10.0", "last"), [1.0]),
        (("asge alpha=0.5", "best"), [81.0]),
        (("asge alpha=2.0", "best"), [80.0, 82.0]),
        (("asge alpha=10.0", "best"), [2.0]),
    ]
    figure = figures.accuracy_by_seed(runs, {})
    [axes] = figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()][:2] == [
        "asge alpha=0.5 / last (n = 1)", "asge alpha=2.0 / last",
    ]  # fmt: skip
