import csv
import io
import json
from pathlib import Path
from unittest.mock import ANY

import pytest
from factories import cell, record, verdict
from rich.console import Console
from scipy import stats

from bench.errors import UserError
from bench.records import Found, Unreadable
from bench.report import rows
from bench.report import table as report

MUST_NOT_BE_NULL = {
    "method",
    "strategy",
    "task",
    "seed",
    "status",
    "accuracy",
    "train_seconds",
    "train_images_per_second",
    "train_images_per_second_compute",
    "predict_images_per_second",
    "peak_rss_bytes",
    "peak_live_bytes",
    "parameter_bytes",
    "parameters",
    "train_flops_per_image",
}


def render(form, *args):
    out = io.StringIO()
    report.render_rows(rows.make(Found(*args)), form, Console(file=out))
    return out.getvalue()


def test_a_json_row_has_every_figure():
    [row] = json.loads(render("json", [record()]))
    assert {key for key in MUST_NOT_BE_NULL if row[key] is None} == set()
    assert row["published"] == 93.41
    assert (row["gap"], row["recipe"]) == (None, "of VGG8, fusion")
    assert row["energy_joules"] is None


def test_every_strategy_is_a_row_and_every_cell_that_is_not_ok_too():
    records = [record(accuracies={"last": 90.0, "best": 91.0}), record("cwc", status="diverged")]
    table = rows.make(Found(records, [cell("backprop")]))
    assert [(r.method, r.strategy, r.status) for r in table] == [
        ("asge", "last", "ok"),
        ("asge", "best", "ok"),
        ("backprop", "logits", "interrupted"),
        ("cwc", "goodness", "diverged"),
        ("cwc", "softmax", "diverged"),
        ("cwc", "best", "diverged"),
    ]
    assert table[3].accuracy is None
    assert table[3].error == "it broke"


def test_allocated_bytes_are_a_column_where_a_record_has_them():
    older = record()
    newer = older.model_copy(update={"training": older.training.model_copy(update={"peak_allocated_bytes": 3 * 2**20})})
    assert "peak allocated" not in render("markdown", [older])
    assert "| peak live MiB | peak allocated MiB |" in render("markdown", [newer])
    assert "| 0.5 | 3.0 |" in render("markdown", [newer])


def test_csv_has_a_header_and_a_line_per_row():
    [row] = csv.DictReader(io.StringIO(render("csv", [record()])))
    assert float(row["accuracy"]) == 90.0
    assert row["energy_joules"] == ""


def test_seeds_are_summed_up_with_a_t_interval():
    text = render("markdown", [record(seed=s, accuracies={"last": a}) for s, a in enumerate([90.0, 91.0, 92.0])])
    half = stats.t.ppf(0.975, 2) * 1.0 / 3**0.5
    assert f"| asge | last | 91.00 ±{half:.2f} |" in text
    assert "ok, 3 seeds" in text


def test_failures_are_shown_beside_what_worked():
    for form in ("rich", "markdown"):
        text = render(form, [record(seed=0), record(seed=1, status="diverged")])
        assert "90.00" in text
        assert "diverged (seed 1)" in text
        assert "it broke" in text


def test_a_note_tells_which_of_a_methods_runs_it_is_about():
    records = [record(settings={"alpha": 1.0}), record(settings={"alpha": 0.5}, status="diverged")]
    assert "asge alpha=0.5 seed 0: diverged: it broke" in render("markdown", records)
    out = io.StringIO()
    report.render_accuracies(rows.make(Found(records)), "markdown", Console(file=out))
    assert "asge alpha=0.5 seed 0: diverged" in out.getvalue()


def test_the_loader_is_named():
    assert "loader: memory (images kept in one tensor)" in render("rich", [record()])
    assert "loader: ffcv" in render("rich", [record(loader="ffcv")])


def test_runs_of_several_machines_are_named_and_those_of_one_are_not():
    both = [record(), record(seed=1), record("backprop", accuracies={"logits": 91.0}, isa="AVX512")]
    ran = "asge on c with AVX2, 2 threads; backprop on c with AVX512, 2 threads"
    assert f"times do not compare between machines: {ran}" in render("markdown", both)
    apart = [record(), record(seed=1, isa="AVX512")]
    ran = "asge seed 0 on c with AVX2, 2 threads; asge seed 1 on c with AVX512, 2 threads"
    assert f"times do not compare between machines: {ran}" in render("markdown", apart)
    assert "between machines" in render("markdown", [record(), record(seed=1, cpu="fast")])
    assert "between machines" not in render("markdown", [record(), record(seed=1)])


def test_a_gap_is_shown_only_where_the_recipe_is_the_same():
    mine = record(accuracies={"fusion": 90.0, "best": 91.0}).model_copy(update={"suite": "authors-fashion"})
    [best, fusion] = [line for line in sorted(render("markdown", [mine]).splitlines()) if line.startswith("| asge")]
    beyond = mine.strategies[0].accuracy_at_best_validation - 93.41
    assert f"| 93.41, same recipe, epoch best on validation | {beyond:+.2f} |" in fusion
    assert "| 93.41, of VGG8, fusion | - |" in best
    assert "same recipe" not in render("markdown", [record(accuracies={"fusion": 90.0})])


def test_a_table_that_is_piped_is_not_folded():
    lines = render("rich", [record()]).splitlines()
    assert any("asge" in line and "90.00" in line and "93.41" in line and "ok" in line for line in lines)


def test_runs_under_different_conditions_are_not_mixed():
    records = [
        record(accuracies={"last": 90.0}, settings={"alpha": 1.0}),
        record(accuracies={"last": 80.0}, settings={"alpha": 0.5}),
        record("backprop", accuracies={"logits": 95.0}),
    ]
    text = render("markdown", records)
    assert "| asge alpha=1.0 | last | 90.00 |" in text
    assert "| asge alpha=0.5 | last | 80.00 |" in text
    assert "| backprop | logits | 95.00 |" in text


def test_brackets_in_messages_are_no_markup():
    broken = record(status="failed").model_copy(update={"error": "[bold] cannot open [/tmp/x]"})
    assert "[bold] cannot open [/tmp/x]" in render("rich", [broken])


def test_running_and_unreadable_cells_say_so():
    unreadable = Unreadable(Path("record.json"), "record.json is not a readable record", cell("ff"))
    table = rows.make(Found([], [], [cell("backprop")], [unreadable]))
    assert [(r.method, r.status) for r in table] == [
        ("backprop", "running"), ("ff", "unreadable"), ("ff", "unreadable"),
    ]  # fmt: skip
    assert table[1].error == unreadable.reason


@pytest.mark.parametrize(
    ("accuracy", "golden", "shown"),
    [("ok", "ok", "ok"), ("ok", "losses differ", "losses differ"), ("regression", "losses differ", "alarm")],
)
def test_a_row_shows_its_own_verdict_or_that_of_its_cell(accuracy, golden, shown):
    checks = [verdict("golden", "", golden), verdict("accuracy", "last", accuracy)]
    [row] = rows.make(Found([record()]), checks)
    assert row.verdict == shown


def test_a_verdict_has_a_column_only_where_something_was_checked():
    assert "against" not in render("markdown", [record()])


def in_terminal(width, records, **options):
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    report.render_rows(rows.make(Found(records)), "rich", console, **options)
    return out.getvalue()


def test_a_terminal_gets_the_columns_that_fit_beside_each_other_and_hears_of_the_others():
    made = [record(accuracies={"last": 90.0, "best": 91.0}), record("ff", epochs=3)]
    text = in_terminal(100, made)
    assert all(len(line) <= 100 for line in text.splitlines())
    assert text.count("┏") == 1
    assert "peak live" in text
    told = " ".join(text.split())
    assert "not shown for want of room, but by `bench table --wide`: " in told
    assert "train_flops_per_image" in told
    assert "not equal: epochs: 2 (asge); 3 (ff)" in told
    assert "equal: batch size" in told or ", batch size" in told
    wide = " ".join(in_terminal(400, made).split())
    assert "not shown" not in wide
    assert "train MFLOP" in wide


def test_columns_may_be_chosen_by_name():
    text = in_terminal(200, [record()], columns=["parameters", "train_seconds"])
    head = next(line for line in text.splitlines() if "parameters" in line)
    assert head.index("parameters") < head.index("train")
    assert "peak live" not in text
    with pytest.raises(UserError, match="unknown column 'parametres': did you mean 'parameters'"):
        in_terminal(200, [record()], columns=["parametres"])


@pytest.mark.parametrize("width", [60, 100, 250])
def test_with_wide_a_narrow_terminal_gets_the_table_in_parts_that_fit(width):
    text = in_terminal(width, [record(accuracies={"last": 90.0, "best": 91.0})], wide=True)
    assert all(len(line) <= width for line in text.splitlines())
    for figure in ("90.00", "93.41", "other", "50", "60", "500", "1,000", "0.5", "ok"):
        assert figure in text
    assert (text.count("strategy") > 1) == (width < 200)  # the first two columns begin every part
    assert "…" not in text


def test_accuracies_alone_are_a_line_per_setting_in_their_order():
    records = [
        record(seed=seed, settings={"alpha": alpha}, accuracies={"last": 80.0 + alpha + seed, "best": 90.0})
        for alpha in (10.0, 2.0)
        for seed in (0, 2)
    ]
    records.append(record("backprop", accuracies={"logits": 93.0}))
    records.append(record("cwc", status="diverged"))
    records.append(record("backprop", task="digits", accuracies={"logits": 99.0}))
    table = rows.make(Found(records))

    def render(form):
        out = io.StringIO()
        report.render_accuracies(table, form, Console(file=out))
        return out.getvalue()

    assert list(csv.reader(io.StringIO(render("csv")))) == [
        [
            "task",
            "method",
            "logits",
            "logits half width",
            "last",
            "last half width",
            "best",
            "best half width",
            "seeds",
        ],
        ["digits", "backprop", "99.0", "", "", "", "", "", "1"],
        ["fashion-mnist", "asge alpha=2.0", "", "", "83.0", ANY, "90.0", "0.0", "2"],
        ["fashion-mnist", "asge alpha=10.0", "", "", "91.0", ANY, "90.0", "0.0", "2"],
        ["fashion-mnist", "backprop", "93.0", "", "", "", "", "", "1"],
    ]
    of_programs = json.loads(render("json"))
    assert of_programs[-1]["method"] == "backprop"
    assert of_programs[1]["last"] == 83
    assert of_programs[1]["last half width"] == pytest.approx(12.7062, abs=1e-4)  # t of one degree of freedom
    assert of_programs[1]["logits"] is None
    for form in ("markdown", "rich"):
        text = render(form)
        assert "83.00 ±12.71" in text
        assert "cwc seed 0: diverged" in text
    assert "\n\n**fashion-mnist" in render("markdown")


def test_names_hold_what_differs_and_brief_ones_only_what_tells_apart():
    runs = [
        ("asge", {"plan": "small", "epochs": 3}),
        ("bas", {"gating": "none", "keep": 0.5, "l0": 1.0, "epochs": 3}),
        ("bas", {"gating": "none", "keep": 0.5, "l0": 1.0, "epochs": 3}),
        ("bas", {"gating": "channels", "keep": 0.5, "l0": 1.0, "epochs": 5}),
        ("bas", {"gating": "channels", "keep": 0.5, "l0": 3.0, "epochs": 5}),
        ("ff", {"epochs": 3, "trials": 20}),
        ("ff", {"epochs": 3}),
    ]
    assert rows.labels(runs) == [
        "asge",
        "bas gating=none l0=1.0 epochs=3",
        "bas gating=none l0=1.0 epochs=3",
        "bas gating=channels l0=1.0 epochs=5",
        "bas gating=channels l0=3.0 epochs=5",
        "ff trials=20",
        "ff",
    ]
    assert rows.labels(runs, brief=True) == [
        "asge",
        "bas gating=none l0=1.0",
        "bas gating=none l0=1.0",
        "bas gating=channels l0=1.0",
        "bas gating=channels l0=3.0",
        "ff trials=20",
        "ff",
    ]


def test_a_run_that_others_begin_with_is_named_so_and_its_conditions_are_in_no_name():
    start = ("bas", {"gating": "none", "rate": 0.1, "epochs": 15, "start": None})
    begun = {"gating": "channels", "rate": 0.02, "epochs": 5, "start": "bas of 15 epochs"}
    runs = [start, ("bas", {**begun, "l0": 1.0}), ("bas", {**begun, "l0": 3.0}), ("conv-aig", begun), start]
    for brief in (False, True):
        assert rows.labels(runs, brief=brief) == ["bas (start)", "bas l0=1.0", "bas l0=3.0", "conv-aig", "bas (start)"]
    alone = [start, ("conv-aig", begun)]
    assert rows.labels(alone) == ["bas (start)", "conv-aig"]


def test_where_two_runs_may_be_what_others_begin_with_none_is_named_so():
    one = {"rate": 0.1, "epochs": 15, "start": None}
    runs = [("bas", one), ("bas", {**one, "rate": 0.3}), ("conv-aig", {"epochs": 5, "start": "bas of 15 epochs"})]
    assert rows.labels(runs) == ["bas rate=0.1", "bas rate=0.3", "conv-aig"]
    longer = [("bas", one), ("conv-aig", {"epochs": 5, "start": "bas of 20 epochs"})]
    assert rows.labels(longer) == ["bas", "conv-aig"]
