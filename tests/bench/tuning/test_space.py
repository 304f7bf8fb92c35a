import optuna
import pytest

from asge.common.marks import Choice, Range
from bench import methods
from bench.errors import UserError
from bench.tuning import space


@pytest.mark.parametrize("method", methods.names())
def test_every_method_has_a_space_of_valid_values(method):
    from bench.methods import settings

    found = space.of_method(method)
    if method in ("asge", "backprop", "cwc", "ff", "local-error"):
        assert "learning_rate" in found
    for key, dimension in found.items():
        for value in space._ends(dimension):
            settings.make(method, {key: value})
        assert all(other in settings.keys(method) for other in dimension.when)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-4..1e-2:log", Range(1e-4, 1e-2, log=True)),
        ("0..2:0.5", Range(0, 2, step=0.5)),
        ("0.1..0.9", Range(0.1, 0.9)),
        ("0|0.5|1", Choice((0, 0.5, 1))),
        ("mean|sum", Choice(("mean", "sum"))),
        ("true", Choice((True,))),
        ("[10]|[20, 30]", Choice(([10], [20, 30]))),
    ],
)
def test_dimensions_are_read_and_written_back(text, expected):
    assert space.parse("asge.x", text) == expected
    assert space.parse("asge.x", space.described(expected)[0]) == expected


def test_a_range_of_a_setting_that_is_a_whole_number_holds_whole_numbers():
    found = space.narrowed("asge", ["asge.classifier_epochs=0..4", "asge.scale=1..4"])
    assert (found["classifier_epochs"], found["scale"]) == (Range(0, 4, whole=True), Range(1, 4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("asge.learning_rate=1e-2..1e-4", "a range goes from a lower to a higher number, got 0.01..0.0001"),
        ("asge.learning_rate=0..1:log", "a logarithmic range begins above 0, got 0"),
        ("asge.alpha=a..b", "is not valid: could not convert"),
        ("asge.alpha=0..2:-1", "a step is above 0"),
        ("asge.alhpa=0..1", "did you mean 'alpha'"),
        ("asge.alpha=-1..1", "asge.alpha = -1.0 is not valid"),
        ("asge.pooling=rms|median", "asge.pooling = 'median' is not valid"),
        ("asge.alpha", "is not of the form METHOD.KEY=LOW..HIGH"),
        ("ff.threshold=1..2", "names method 'ff', but 'asge' is tuned"),
    ],
)
def test_wrong_spaces_are_one_sentence(text, message):
    with pytest.raises(UserError, match=message):
        space.narrowed("asge", [text])


def test_the_command_line_goes_before_the_file_and_the_file_before_the_marks(tmp_path):
    file = tmp_path / "space.toml"
    file.write_text('[asge]\nalpha = "0|1"\nscale = "2..4"\nplan = "tiny"\n')
    found = space.narrowed("asge", ["asge.alpha=0.5"], file)
    assert found["alpha"] == Choice((0.5,))
    assert found["scale"] == Range(2, 4)
    assert found["plan"] == Choice(("tiny",))
    assert found["learning_rate"] == space.of_method("asge")["learning_rate"]


def test_files_that_are_no_spaces(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        space.narrowed("asge", [], tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[asge")
    with pytest.raises(UserError, match="is not valid TOML"):
        space.narrowed("asge", [], tmp_path / "bad.toml")
    (tmp_path / "flat.toml").write_text("asge = 3")
    with pytest.raises(UserError, match="asge must be a table"):
        space.narrowed("asge", [], tmp_path / "flat.toml")


def test_what_has_no_effect_is_not_drawn():
    sgd = Choice(("sgd",))
    found = space.ordered({"momentum": Range(0.8, 0.99, when={"optimiser": ("sgd",)}), "optimiser": sgd})
    assert list(found) == ["optimiser", "momentum"]
    trial = optuna.trial.FixedTrial({"optimiser": "sgd", "momentum": 0.9})
    assert space.suggest(trial, found) == {"optimiser": "sgd", "momentum": 0.9}
    found["optimiser"] = Choice(("adam",))
    assert space.suggest(optuna.trial.FixedTrial({"optimiser": "adam"}), found) == {"optimiser": "adam"}


def test_values_that_optuna_has_no_type_for():
    found = {"hidden": Choice(([10, 20], [30])), "layers": Range(1, 4, whole=True)}
    trial = optuna.trial.FixedTrial({"hidden": "[10, 20]", "layers": 2})
    assert space.suggest(trial, found) == {"hidden": [10, 20], "layers": 2}


def test_which_settings_lie_in_a_space():
    found = {
        "hidden": Choice(([10, 20], [30])),
        "layers": Range(1, 4, whole=True),
        "alpha": Range(0, 2, step=0.5),
        "scale": Range(0.25, 16, log=True),
    }
    inside = {"hidden": [30], "layers": 4, "alpha": 1.5, "scale": 1.0}
    assert space.within(found, {**inside, "other": 1}) == {**inside, "hidden": "[30]"}
    assert space.within(found, {"hidden": [40], "layers": 5, "alpha": 1.25, "scale": 0.2}) == {}
    assert space.within(found, {"hidden": [40], "layers": 5, "alpha": None, "scale": None}) == {}


def test_a_grid_by_hand():
    found = space.grid(
        {
            "a": Range(0, 2, step=0.5),
            "b": Range(0.01, 1, log=True),
            "c": Choice(("x", "y")),
            "d": Range(1, 3, whole=True),
        }
    )
    assert found["a"] == [0, 0.5, 1, 1.5, 2]
    assert found["b"] == pytest.approx([0.01, 0.1, 1])
    assert (found["c"], found["d"]) == (["x", "y"], [1, 2, 3])
