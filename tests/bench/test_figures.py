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
