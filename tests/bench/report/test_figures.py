import pytest
from factories import gated, record, work

from bench.report import figures
from bench.report.figures import accuracy, drawing, lengths
from bench.report.figures import work as work_figures

PNG = b"\x89PNG\r\n\x1a\n"


def test_points_of_accuracy_against_work_by_hand():
    runs = [(f"bas l0_weight={each.cell.settings.get('l0_weight')}", each) for each in gated("digits")]
    figure = work_figures.against_accuracy(runs, {})
    [axes] = figure.axes
    means = [bar.lines[0] for bar in axes.containers]
    assert [line.get_xydata()[0].tolist() for line in means] == [[20.0, 89.0], [10.0, 89.5], [40.0, 91.0]]
    assert [line.get_marker() for line in means] == ["o", "s", "o"]
    assert [line.get_color() == means[0].get_color() for line in means] == [True, True, False]
    names = ["bas l0_weight=0.5", "bas l0_weight=1.0", "bas l0_weight=None"]
    assert [text.get_text() for text in axes.get_legend().texts] == names


def test_only_networks_that_leave_something_out_are_shown_by_layer():
    runs = [(str(each.cell.settings), each) for each in gated("digits")]
    shown = [axes.get_title() for axes in work_figures.by_layer(runs, {}).axes if axes.get_title()]
    assert len(shown) == 2
    assert not any("none" in name for name in shown)


@pytest.mark.parametrize(
    ("task", "classes"),
    [
        ("cifar10", ["airplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]),
        ("digits", [str(number) for number in range(10)]),
        ("one that is not registered", [str(number) for number in range(10)]),
    ],
)
def test_classes_are_named_and_one_without_images_keeps_its_place(task, classes):
    of_classes = work(1e6).model_copy(update={"layers_by_class": [[1.0, 0.1], [], *[[1.0, 0.9]] * 8]})
    axes = work_figures.by_layer([("aig", record("conv-aig", task=task, work=of_classes))], {}).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == classes
    shown = axes.collections[0].get_array()
    assert shown.mask.tolist() == [[False, True, *[False] * 8]] * 2
    assert shown[1, [0, 2]].tolist() == [0.1, 0.9]


def test_the_spread_of_work_is_drawn_from_its_quantiles():
    runs = [(str(each.cell.settings), each) for each in gated("digits")]
    figure = work_figures.by_image(runs, {})
    [axes] = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(
        dict.fromkeys(n for n, _ in runs if "none" not in n)
    )
    medians = {round(float(x), 3) for line in axes.lines for x in line.get_xdata() if len(set(line.get_xdata())) == 1}
    assert {20.0, 10.0} <= medians
    of_classes = axes.collections[0].get_offsets()[:, 0].tolist()
    assert of_classes == pytest.approx([2 / 3 * 20, 4 / 3 * 20])  # of each class, over both seeds
    assert len(axes.collections[2].get_offsets()) == 0  # none was predicted wrong
    assert work_figures.by_image([run for run in runs if "none" in run[0]], {}) is None


def test_shares_of_gates_by_hand():
    assert work_figures.shares_of([1.0, 1.0, 0.5, 0.0, 0.99]) == {
        "always open": 0.4, "conditional": 0.4, "never open": 0.2,
    }  # fmt: skip


@pytest.mark.parametrize("instructions", ["AVX2", "AVX512"])
def test_a_figure_of_times_says_that_they_are_of_several_machines(instructions):
    here, there = (record(seed=seed, isa=isa) for seed, isa in enumerate(("AVX2", instructions)))
    figure = accuracy.against_time([("asge", here), ("asge", there)], {"asge": "blue"})
    below = " ".join(text.get_text() for text in figure.texts)
    assert ("do not compare: c with AVX2, 2 threads; c with AVX512, 2 threads" in below) == (instructions == "AVX512")


@pytest.mark.slow
def test_every_figure_of_every_task_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "DPI", 30)
    records = [
        record("asge", accuracies={"last": 90.0, "best": 91.0}),
        record("backprop", accuracies={"logits": 92.0}),
        record("ff", task="digits", accuracies={"goodness": 80.0}),
        *(record("ff", task=task, epochs=n) for n in (1, 2, 3) for task in ("digits", "fashion-mnist")),
        *gated("digits"),
        *gated("fashion-mnist"),
    ]
    paths = figures.draw_all(records, tmp_path)
    assert sorted(path.name for path in paths) == sorted(
        f"{task}-{name}.png" for task in ("digits", "fashion-mnist") for name in figures.FIGURES
    )
    assert all(path.read_bytes()[:8] == PNG for path in paths)
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_a_method_has_its_color_in_all_figures():
    methods = ["asge", "backprop", "ff", "cwc", "local-error"]
    alone = {method: drawing.colors_of({method: method})[method] for method in methods}
    together = drawing.colors_of({"asge alpha=1": "asge", "asge alpha=2": "asge", "ff": "ff", "cwc": "cwc"})
    assert together["asge alpha=1"] == alone["asge"]
    assert {name: together[name] for name in ("ff", "cwc")} == {name: alone[name] for name in ("ff", "cwc")}
    assert len(set(together.values())) == 4
    many = {f"asge alpha={number}": "asge" for number in range(12)} | {"ff": "ff"}
    assert set(drawing.colors_of(many)) == set(many)


def test_records_that_failed_leave_no_figure(tmp_path):
    assert figures.draw_all([record(status="failed")], tmp_path / "new") == []


@pytest.mark.parametrize(("form", "begins"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_the_same_records_give_the_same_bytes_in_every_format(tmp_path, form, begins):
    made = [record(seed=seed, accuracies={"last": 90.0 + seed}) for seed in range(2)]
    first, second = (figures.draw_all(made, tmp_path / name, form) for name in ("a", "b"))
    assert [path.name for path in first] == [path.name for path in second]
    for one, other in zip(first, second, strict=True):
        content = one.read_bytes()
        assert content.startswith(begins)
        assert content == other.read_bytes()
    assert not (tmp_path / "new").exists()


def test_lines_of_a_sweep_follow_its_settings_strategy_by_strategy():
    def run(alpha, seed, last, best):
        settings = {"plan": "tiny", "alpha": alpha}
        return f"asge alpha={alpha}", record(seed=seed, settings=settings, accuracies={"last": last, "best": best})

    runs = [run(2.0, 0, 70.0, 80.0), run(0.5, 0, 71.0, 81.0), run(2.0, 1, 72.0, 82.0), run(10.0, 0, 1.0, 2.0)]
    found = accuracy.seeds_by_line(runs)
    assert [(line, [value for _, value in seeds]) for line, seeds in found.items()] == [
        (("asge alpha=0.5", "last"), [71.0]),
        (("asge alpha=2.0", "last"), [70.0, 72.0]),
        (("asge alpha=10.0", "last"), [1.0]),
        (("asge alpha=0.5", "best"), [81.0]),
        (("asge alpha=2.0", "best"), [80.0, 82.0]),
        (("asge alpha=10.0", "best"), [2.0]),
    ]
    figure = accuracy.by_seed(runs, {})
    [axes] = figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()][:2] == [
        "asge alpha=0.5 / last (n = 1)", "asge alpha=2.0 / last",
    ]  # fmt: skip


def test_errors_that_fall_as_a_power_of_time_or_to_a_floor_go_on_so():
    minutes, at = [1.0, 10.0, 100.0], [1000.0]
    assert lengths.power_law(minutes, [40.0, 20.0, 10.0], at) == pytest.approx([5.0])
    assert lengths.power_law(minutes, [45.0, 25.0, 15.0], at) == pytest.approx([10.0], rel=0.01)


def test_points_by_length_are_means_over_seeds_of_what_differs_in_epochs_only():
    runs = [("", record(seed=seed, epochs=n, accuracies={"last": 60.0 + n + seed})) for n in (9, 2) for seed in (0, 2)]
    runs += [("", record(epochs=2, batch_size=8, accuracies={"last": 1.0}))]
    first, other = lengths.points_by_line(runs).values()
    assert [error for _, error in first] == [37.0, 30.0]
    assert [minutes for minutes, _ in first] == pytest.approx([4 / 60, 18 / 60])
    assert [error for _, error in other] == [99.0]


def test_points_that_do_not_fall_have_no_line_and_settings_have_names():
    assert lengths.falls([1.0, 2.0, 3.0], [9.0, 8.0, 7.0])
    assert not lengths.falls([1.0, 2.0, 3.0], [7.0, 8.0, 9.0])
    assert not lengths.falls([1.0, 2.0, 3.0], [2.0, 1.0, 0.0])
    assert not lengths.falls([1.0, 1.0, 3.0], [9.0, 8.0, 7.0])
    runs = [
        ("", record(epochs=n, settings={"alpha": alpha}, accuracies={"last": 80.0 + sign * n}))
        for n in (1, 2, 3)
        for alpha, sign in ((0.5, 1), (2.0, -1))
    ]
    [axes] = lengths.against_length(runs, {}).axes
    told = [text.get_text() for text in axes.get_legend().texts]
    assert told[0].startswith("asge alpha=0.5 / last: 83.0 %, at ten times ")
    assert told[1] == "asge alpha=2.0 / last: 77.0 %"
