import pytest

from asge import ASGESettings
from bench.errors import UserError
from bench.methods import settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("asge.alpha=0.5", ("asge", "alpha", 0.5)),
        ("asge.plan=16,M,32", ("asge", "plan", "16,M,32")),
        ("ff.hidden=[10, 20]", ("ff", "hidden", [10, 20])),
        ("asge.rule=linear", ("asge", "rule", "linear")),
        ("cwc.weight_decay=0", ("cwc", "weight_decay", 0)),
    ],
)
def test_overrides_are_read_as_json_or_text(text, expected):
    assert settings.parse_override(text) == expected


@pytest.mark.parametrize("text", ["alpha=1", "asge.alpha", "asge=1", ".alpha=1", "asge.=1", ""])
def test_an_override_of_another_form_is_an_error_that_shows_the_form(text):
    with pytest.raises(UserError, match=r"METHOD\.KEY=VALUE"):
        settings.parse_override(text)


def test_an_unknown_key_suggests_the_closest():
    with pytest.raises(UserError, match=r"unknown setting of asge 'alhpa': did you mean 'alpha'\?"):
        settings.parse_overrides(["asge.alhpa=1"])


def test_an_unknown_method_is_named():
    with pytest.raises(UserError, match="unknown method 'agse': did you mean 'asge'"):
        settings.parse_overrides(["agse.alpha=1"])


@pytest.mark.parametrize(
    ("method", "values", "message"),
    [
        ("asge", {"alpha": -1}, r"asge\.alpha = -1 is not valid: .*greater than or equal to 0"),
        ("asge", {"alpha": "much"}, r"asge\.alpha = 'much' is not valid"),
        ("asge", {"rule": "cubic"}, r"asge\.rule = 'cubic' is not valid: .*'power' or 'linear'"),
        ("asge", {"alpha": float("inf")}, r"asge\.alpha = inf is not valid: numbers must be finite"),
        ("cwc", {"train_until": [0.5, float("nan")]}, r"cwc\.train_until = .* is not valid: numbers must be finite"),
        ("ff", {"hidden": [10]}, r"ff\.hidden = .* is not valid"),
        ("cwc", {"channels": [10, 0]}, r"cwc\.channels\.1 = 0 is not valid"),
        ("backprop", {"learning_rate": 0}, r"backprop\.learning_rate = 0 is not valid"),
    ],
)
def test_values_that_are_not_valid_name_key_value_and_reason(method, values, message):
    with pytest.raises(UserError, match=message) as caught:
        settings.make(method, values)
    assert "\n" not in str(caught.value)


def test_canonical_form_is_the_same_for_equal_settings():
    assert settings.canonical("asge", {}) == settings.canonical("asge", {"alpha": 1})
    assert set(settings.complete("asge", {})) == set(settings.keys("asge"))
    assert settings.canonical("ff", {"hidden": (10, 20)})["hidden"] == [10, 20]


def test_a_neutral_setting_is_no_part_of_a_run_that_does_without_it():
    plain, gated = (settings.canonical("asge", values) for values in ({}, {"gating": "gct"}))
    neutral = set(settings.complete("asge", {})) - set(plain)
    assert {"gating", "gating_where", "gate_activation", "normalization", "dropout", "min_learning_rate"} <= neutral
    assert {"plan", "alpha", "pooling", "affine", "optimiser", "learning_rate"} <= set(plain)
    assert plain == settings.canonical("asge", {"gating": "none", "gating_where": "every"})
    assert "head_learning_rate" not in settings.canonical("cwc", {})
    assert settings.canonical("cwc", {"head_learning_rate": 1e-3})["head_learning_rate"] == 1e-3
    assert gated == {**plain, "gating": "gct"}
    assert settings.filled("asge", plain) == settings.complete("asge", {})
    assert settings.filled("asge", gated) == settings.complete("asge", {"gating": "gct"})
    assert settings.make("asge", plain) == ASGESettings()
    former = settings.canonical("asge", {"features": "activations"})
    assert "features" not in former
    assert settings.make("asge", former) == ASGESettings(features="activations")
    assert settings.make("asge", plain).features == "energies"


def test_settings_of_a_method_that_is_not_here_are_left_as_they_are():
    assert settings.filled("nobody", {"width": 3}) == {"width": 3}
