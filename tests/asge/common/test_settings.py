import dataclasses
import types

import pytest
import torch
from pydantic import ValidationError

from asge import ASGESettings
from asge.common.settings import settings_class
from baselines.backprop import BackpropSettings
from baselines.cwc import CwCSettings
from baselines.forward_forward import ForwardForwardSettings
from baselines.local_error import LocalErrorSettings
from bench import methods


@pytest.mark.parametrize(
    "cls", [ASGESettings, BackpropSettings, CwCSettings, ForwardForwardSettings, LocalErrorSettings]
)
def test_a_misspelt_setting_is_refused_with_the_one_that_was_meant(cls):
    with pytest.raises(
        TypeError, match=rf"{cls.__name__} has no setting 'learnin_rate': did you mean 'learning_rate'\?"
    ):
        cls(learnin_rate=0.1)


def test_settings_are_checked_frozen_and_can_be_changed_in_copies():
    @settings_class
    class Settings:
        depth: int = 2

    with pytest.raises(TypeError, match=r"no setting 'x' \(it has depth\)"):
        Settings(x=1)
    with pytest.raises(ValidationError):
        Settings(depth="deep")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().depth = 3
    assert dataclasses.replace(Settings(), depth=3) == Settings(depth=3)


SHAPE = types.SimpleNamespace(shape=(3, 8, 8), classes=4)
BUDGET = types.SimpleNamespace(epochs=1, steps_per_epoch=1)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("asge", {"gating_where": "block"}, "gating_where has no effect with gating 'none': it cannot be 'block'"),
        ("asge", {"gating": "se", "gate_activation": "elu"}, "gate_activation has no effect with gating 'se'"),
        ("ff", {"plan": "4,M,4", "hidden": [9, 9]}, "hidden has no effect with plan '4,M,4'"),
        ("ff", {"pooling": "max"}, "pooling has no effect with a perceptron"),
        ("ff", {"peer_normalization": 0.0, "peer_momentum": 0.5}, "peer_momentum has no effect"),
        ("local-error", {"signal": "pred", "similarity_weight": 0.5}, "similarity_weight has no effect"),
        ("local-error", {"signal": "sim", "read_out_size": 5}, "read_out_size has no effect with signal 'sim'"),
        ("conv-aig", {"gating": "none", "target": 0.5}, "target has no effect with gating 'none'"),
        ("bas", {"keep": 0.3}, "keep has no effect with gating 'channels'"),
        ("bas", {"gating": "saliency", "shaping_weight": 0.3}, "shaping_weight has no effect"),
        ("bas", {"gating": "none", "l0_weight": 0.3}, "l0_weight has no effect"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(method, options, message):
    found = methods.get(method)
    with pytest.raises(ValueError, match=message):
        found.build(SHAPE, found.Settings(**options), BUDGET, torch.device("cpu"), torch.Generator())
