import os

import pytest

from bench import suites
from bench.errors import UserError
from bench.running import parts
from bench.suites import Overrides


def expand(suite, **overrides):
    return suites.cells(suite, Overrides(threads=2, **overrides))


def write(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return str(path)


MINE = """
tasks = ["digits"]
seeds = 2
epochs = 3
loader = "memory"
[methods.asge]
plan = "tiny"
[methods.ff]
"""


@pytest.mark.parametrize("name", suites.names())
def test_every_shipped_suite_expands(name):
    assert expand(suites.load(name), loader="memory")


@pytest.mark.parametrize(
    "name", [name for name in suites.names() if not name.endswith("-gpu") and "authors" not in name]
)
def test_every_cell_of_a_suite_for_two_cores_can_be_built(name):
    for spec in {cell.experiment: cell for cell in expand(suites.load(name), loader="memory", seeds=1)}.values():
        learner, _ = parts.learner(spec, steps_per_epoch=1)
        if spec.begins_with is not None:
            parts.begin(learner, spec, parts.learner(spec.begins_with, steps_per_epoch=1)[0].state_dict())


def test_expansion_by_hand(tmp_path):
    cells = expand(suites.load(write(tmp_path, MINE)))
    assert [(c.method, c.seed) for c in cells] == [("asge", 0), ("ff", 0), ("asge", 1), ("ff", 1)]
    assert {c.epochs for c in cells} == {3}
    assert cells[0].settings["plan"] == "tiny"
    assert cells[0].settings["alpha"] == 1.0


SWEEP = (
    MINE
    + """
[sweep.asge]
alpha = [0.0, 2]
reduction = ["mean", "sum"]
"""
)


def test_several_sweeps_are_tried_one_after_the_other(tmp_path):
    text = MINE + "[[sweep.asge]]\nalpha = [0.0]\n[[sweep.asge]]\nalpha = [0.0, 2]\nreduction = ['sum']\n"
    cells = expand(suites.load(write(tmp_path, text)), methods=("asge",), seeds=1)
    assert [(c.settings["alpha"], c.settings["reduction"]) for c in cells] == [
        (0.0, "mean"),
        (0.0, "sum"),
        (2.0, "sum"),
    ]


def test_seeds_can_begin_anywhere(tmp_path):
    cells = expand(suites.load(write(tmp_path, SWEEP + "\n")), methods=("ff",), first_seed=14, seeds=3)
    assert [c.seed for c in cells] == [14, 15, 16]


def test_a_sweep_runs_every_combination(tmp_path):
    suite = suites.load(write(tmp_path, SWEEP + "\n"))
    cells = expand(suite, seeds=1)
    assert [(c.method, c.settings.get("alpha"), c.settings.get("reduction")) for c in cells] == [
        ("asge", 0.0, "mean"),
        ("asge", 0.0, "sum"),
        ("asge", 2.0, "mean"),
        ("asge", 2.0, "sum"),
        ("ff", None, None),
    ]
    assert {c.settings["plan"] for c in cells if c.method == "asge"} == {"tiny"}
    assert len({c.id for c in cells}) == 5
    chosen = expand(suite, seeds=1, methods=("asge",), settings={"asge": {"alpha": 2.0}})
    assert [c.id for c in chosen] == [cells[2].id, cells[3].id]


def test_equal_values_of_a_sweep_run_once(tmp_path):
    suite = suites.load(write(tmp_path, MINE + "[sweep.asge]\nalpha = [1, 1.0, 2]"))
    assert [c.settings["alpha"] for c in expand(suite, seeds=1, methods=("asge",))] == [1.0, 2.0]


def test_a_swept_yardstick_is_its_first_variant(tmp_path):
    cells = expand(suites.load(write(tmp_path, 'yardstick = "asge"' + SWEEP)))
    assert {(c.yardstick.settings["alpha"], c.yardstick.settings["reduction"]) for c in cells} == {(0.0, "mean")}


def test_overrides(tmp_path):
    suite = suites.load(write(tmp_path, MINE))
    cells = expand(
        suite, methods=("ff",), tasks=("digits", "mnist"), seeds=1, epochs=7, settings={"ff": {"threshold": 2}}
    )
    assert [(c.method, c.task, c.epochs, c.settings["threshold"]) for c in cells] == [
        ("ff", "digits", 7, 2.0),
        ("ff", "mnist", 7, 2.0),
    ]


def test_identity(tmp_path):
    suite = suites.load(write(tmp_path, MINE))
    cells = expand(suite)
    assert len({c.id for c in cells}) == 4
    assert cells[0].id == expand(suite, settings={"asge": {"alpha": 1}})[0].id
    assert cells[0].experiment == cells[2].experiment
    assert cells[0].experiment != expand(suite, settings={"asge": {"alpha": 2}})[0].experiment
    assert cells[0].experiment != expand(suite, epochs=4)[0].experiment
    other_threads = suites.cells(suite, suites.Overrides(threads=1))[0]
    assert other_threads.id != cells[0].id
    assert other_threads.experiment == cells[0].experiment


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"methods": ("cwc",)}, "unknown method in suite mine 'cwc'"),
        ({"tasks": ("digit",)}, "unknown task 'digit': did you mean 'digits'"),
        ({"methods": ()}, "--methods names nothing; leave it out for asge, ff"),
        ({"tasks": ()}, "--tasks names nothing"),
        ({"seeds": 0}, "--seeds must be from 1 to 1,000,000, got 0"),
        ({"first_seed": -1}, "--first-seed must be from 0 to 1,000,000, got -1"),
        ({"epochs": -1}, "--epochs must be from 1 to 1,000,000, got -1"),
        ({"loader": "fast"}, "unknown loader 'fast'"),
        ({"settings": {"cwc": {}}}, "unknown method in suite mine 'cwc'"),
    ],
)
def test_overrides_that_are_not_valid(tmp_path, overrides, message):
    suite = suites.load(write(tmp_path, MINE))
    with pytest.raises(UserError, match=message):
        expand(suite, **overrides)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = ", "not valid TOML"),
        (MINE.replace("seeds", "seds"), r"unknown key 'seds': did you mean 'seeds'\?"),
        (MINE.replace("epochs = 3", "epochs = 0"), "epochs is not valid"),
        (MINE.replace('"digits"', ""), "tasks is not valid"),
        (MINE.split("[methods", maxsplit=1)[0], "methods is not valid"),
        (MINE + "[sweep.cwc]", r"sweep of 'cwc', which is not one of its methods \(asge, ff\)"),
        (MINE + '[sweep.asge]\nplan = ["tiny", "small"]', r"asge\.plan is both set and swept"),
        (MINE + "[sweep.asge]\nalpha = []", r"sweep\.asge\.alpha is not valid"),
        (MINE + "[sweep.asge]\nalpha = 2", r"sweep\.asge\.alpha is not valid"),
    ],
)
def test_files_that_are_not_suites(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        suites.load(write(tmp_path, text))


def test_a_setting_that_does_not_exist_in_a_file(tmp_path):
    suite = suites.load(write(tmp_path, MINE.replace("plan =", "plna =")))
    with pytest.raises(UserError, match=r"unknown setting of asge 'plna': did you mean 'plan'\?"):
        expand(suite)


def test_unknown_suites():
    with pytest.raises(UserError, match=r"unknown suite 'smok': did you mean 'smoke'\?"):
        suites.load("smok")
    with pytest.raises(UserError, match="does not exist"):
        suites.load("nowhere.toml")


def test_epochs_may_differ_by_method_and_settings(tmp_path):
    path = tmp_path / "budget.toml"
    path.write_text(
        'tasks = ["digits"]\nepochs = 5\n'
        'epochs_of = { cwc = 7, "local-error signal=pred" = 3, "local-error" = 2 }\n'
        '[methods.asge]\n[methods.cwc]\n[methods.local-error]\n[sweep.local-error]\nsignal = ["pred", "predsim"]\n'
    )
    suite = suites.load(str(path))
    epochs = [(c.method, c.settings.get("signal"), c.epochs) for c in suites.cells(suite, suites.Overrides(threads=1))]
    assert epochs == [("asge", None, 5), ("cwc", None, 7), ("local-error", "pred", 3), ("local-error", "predsim", 2)]
    told = suites.cells(suite, Overrides(threads=1, epochs=1))
    assert {c.epochs for c in told} == {1}


def test_threads_may_differ_by_method_where_the_command_line_names_none(tmp_path):
    path = tmp_path / "slow.toml"
    path.write_text(
        'tasks = ["digits"]\nepochs = 5\nthreads = 1\nthreads_of = { cwc = 3 }\n[methods.asge]\n[methods.cwc]\n'
    )
    suite = suites.load(str(path))
    assert [c.threads for c in suites.cells(suite, suites.Overrides())] == [1, 3]
    assert [c.threads for c in suites.cells(suite, suites.Overrides(threads=2))] == [2, 2]


def test_seeds_may_differ_by_method_where_the_command_line_names_none(tmp_path):
    path = tmp_path / "some.toml"
    path.write_text(
        'tasks = ["digits"]\nepochs = 5\nseeds = 3\nseeds_of = { cwc = 1 }\n[methods.asge]\n[methods.cwc]\n'
    )
    suite = suites.load(str(path))

    def seeds(**overrides):
        cells = suites.cells(suite, suites.Overrides(threads=1, **overrides))
        return {method: [c.seed for c in cells if c.method == method] for method in ("asge", "cwc")}

    assert seeds() == {"asge": [0, 1, 2], "cwc": [0]}
    assert seeds(first_seed=5) == {"asge": [5, 6, 7], "cwc": [5]}
    assert seeds(seeds=2) == {"asge": [0, 1], "cwc": [0, 1]}
    assert [cell.method for cell, _ in suites.expected(suite)].count("cwc") == 1


def test_a_suite_that_names_no_threads_has_as_many_as_the_process_may_use(tmp_path):
    cells = suites.cells(suites.load(write(tmp_path, MINE)), suites.Overrides())
    assert {c.threads for c in cells} == {len(os.sched_getaffinity(0))}


def test_the_command_lines_epochs_settle_which_key_counts(tmp_path):
    path = tmp_path / "budget.toml"
    keys = '"cwc blocks=cfse" = 7, "cwc loss=ce" = 8'
    path.write_text(f'tasks = ["digits"]\nepochs = 5\nepochs_of = {{ {keys} }}\n[methods.cwc]\n')
    [told] = suites.cells(suites.load(str(path)), Overrides(threads=1, epochs=1))
    assert told.epochs == 1


@pytest.mark.parametrize("table", ["epochs_of", "seeds_of", "threads_of"])
@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("ff", "{table} 'ff': 'ff' is not one of its methods"),
        ("cwc plain", "{table} 'cwc plain' is not of the form"),
        ("cwc block=plain", "unknown setting of cwc 'block': did you mean 'blocks'"),
        ("cwc blocks=plane", "cwc.blocks = 'plane' is not valid"),
        ("cwc blocks=plain", "{table} 'cwc blocks=plain' fits no cell of suite budget"),
        ("", "{table} '': '' is not one of its methods"),
    ],
)
def test_keys_of_what_is_not_there_are_refused(tmp_path, table, key, message):
    path = tmp_path / "budget.toml"
    path.write_text(f'tasks = ["digits"]\nepochs = 5\n{table} = {{ "{key}" = 7 }}\n[methods.cwc]\n')
    with pytest.raises(UserError, match=message.format(table=table)):
        suites.cells(suites.load(str(path)), suites.Overrides(threads=1))


def test_two_keys_for_the_same_cell_are_refused(tmp_path):
    path = tmp_path / "budget.toml"
    keys = '"cwc blocks=cfse" = 7, "cwc loss=ce" = 8'
    path.write_text(f'tasks = ["digits"]\nepochs = 5\nepochs_of = {{ {keys} }}\n[methods.cwc]\n')
    with pytest.raises(UserError, match="'cwc blocks=cfse' and 'cwc loss=ce' fit the same cell"):
        suites.cells(suites.load(str(path)), suites.Overrides(threads=1))


def test_a_key_may_name_several_settings_and_lists(tmp_path):
    key, settings = "cwc channels=[20, 40] blocks=cfse", "channels = [20, 40]\ntrain_until = [0.5, 1]"
    path = tmp_path / "budget.toml"
    path.write_text(f'tasks = ["digits"]\nepochs = 5\nepochs_of = {{ "{key}" = 7 }}\n[methods.cwc]\n{settings}\n')
    assert [c.epochs for c in suites.cells(suites.load(str(path)), suites.Overrides(threads=1))] == [7]


def test_resolutions_and_packing_reach_every_cell(tmp_path):
    lines = 'resolutions = [[1, 32], [3, 48]]\npacking = "jpeg, quality=90"\n'
    cells = expand(suites.load(write(tmp_path, lines + MINE)))
    assert {c.resolutions for c in cells} == {((1, 32), (3, 48))}
    assert {c.packing for c in cells} == {"jpeg,quality=90"}


@pytest.mark.parametrize("value", ["[]", "[[3, 32], [1, 48]]", "[[1, 32], [1, 48]]", "[[0, 32]]", "[[1, 4]]"])
def test_bad_resolutions_are_one_sentence(value, tmp_path):
    with pytest.raises(UserError, match="resolutions"):
        suites.load(write(tmp_path, f"resolutions = {value}\n" + MINE))


def test_size_scaling_and_split_reach_every_cell(tmp_path):
    plain = expand(suites.load(write(tmp_path, MINE)))[0]
    keys = 'resize = 16\nscaling = "rms"\nsplit = "random"\nvalidation_samples = 100\naugmented_validation = true\n'
    changed = expand(suites.load(write(tmp_path, keys + MINE)))[0]
    assert (changed.resize, changed.scaling, changed.split) == (16, "rms", "random")
    assert (changed.validation_samples, changed.augmented_validation) == (100, True)
    assert changed.experiment != plain.experiment
    assert not {"resize", "scaling", "split", "validation_samples", "augmented_validation"} & set(plain.content)


def test_every_method_runs_with_each_of_several_inputs(tmp_path):
    inputs = '[[inputs]]\n[[inputs]]\nscaling = "unit"\n[[inputs]]\naugmentation = ["flip"]\nresize = 16\n'
    made = expand(suites.load(write(tmp_path, MINE + inputs)), seeds=1)
    assert [(cell.method, cell.scaling, cell.augmentation, cell.resize) for cell in made] == [
        (method, *rest)
        for method in ("asge", "ff")
        for rest in (("standard", (), None), ("unit", (), None), ("standard", ("flip",), 16))
    ]
    assert [cell.id for cell in made[:1]] == [cell.id for cell in expand(suites.load(write(tmp_path, MINE)))[:1]]


def test_an_unknown_augmentation_of_an_input_is_one_sentence(tmp_path):
    suite = suites.load(write(tmp_path, MINE + '[[inputs]]\naugmentation = ["flop"]\n'))
    with pytest.raises(UserError, match="unknown augmentation 'flop': did you mean 'flip'"):
        expand(suite)


def test_a_bad_packing_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="unknown packing 'jpg': did you mean 'jpeg'"):
        expand(suites.load(write(tmp_path, 'packing = "jpg"\n' + MINE)))


TUNING = """
[tuning.{method}]
study = "s"
trial = 3
seeds = [0, 1]
validation = [90.0, 91.0]
trials = {trials}
epochs = 5
seconds = {seconds}
commit = "abc"
exported = "2026-01-01"
"""


def tuned(tmp_path, *tables):
    return suites.load(write(tmp_path, MINE + "".join(TUNING.format(**table) for table in tables)))


def test_what_was_spent_on_tuning_is_in_the_cells_and_no_part_of_what_they_are(tmp_path):
    suite = tuned(tmp_path, {"method": "asge", "trials": 20, "seconds": 100})
    with_it, without = expand(suite, seeds=1), expand(suites.load(write(tmp_path, MINE)), seeds=1)
    assert [cell.tuning and cell.tuning.trials for cell in with_it] == [20, None]
    assert [cell.id for cell in with_it] == [cell.id for cell in without]
    assert [cell.experiment for cell in with_it] == [cell.experiment for cell in without]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ([{"method": "asge", "trials": 20, "seconds": 100}], "asge is tuned and ff is not; --unequal-budgets"),
        (
            [{"method": "asge", "trials": 20, "seconds": 100}, {"method": "ff", "trials": 23, "seconds": 100}],
            "115 epochs of tuning for ff, 100 for asge, more than 10% apart",
        ),
        (
            [{"method": "asge", "trials": 20, "seconds": 115}, {"method": "ff", "trials": 20, "seconds": 100}],
            "115 seconds of tuning for asge, 100 for ff",
        ),
    ],
)
def test_unequal_budgets_are_refused(tmp_path, tables, message):
    suite = tuned(tmp_path, *tables)
    with pytest.raises(UserError, match=message):
        suites.check_budgets(suite)
    suites.check_budgets(suite, suites.Overrides(methods=("asge",)))


def test_equal_budgets_compare(tmp_path):
    tables = [{"method": "asge", "trials": 20, "seconds": 105}, {"method": "ff", "trials": 20, "seconds": 100}]
    suites.check_budgets(tuned(tmp_path, *tables))


def test_settings_that_the_command_line_changes_are_not_tuned(tmp_path):
    tables = [{"method": "asge", "trials": 20, "seconds": 100}, {"method": "ff", "trials": 20, "seconds": 100}]
    suite, changed = tuned(tmp_path, *tables), suites.Overrides(settings={"asge": {"alpha": 0.5}})
    with_it = suites.cells(suite, suites.Overrides(threads=1, settings={"asge": {"alpha": 0.5}}))
    assert {cell.method: cell.tuning is not None for cell in with_it} == {"asge": False, "ff": True}
    with pytest.raises(UserError, match="ff is tuned and asge is not"):
        suites.check_budgets(suite, changed)
