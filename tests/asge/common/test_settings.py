import dataclasses

import pytest
from pydantic import ValidationError

from asge import ASGESettings
from asge.common.settings import settings_class
from baselines.backprop import BackpropSettings
from baselines.cwc import CwCSettings
from baselines.forward_forward import ForwardForwardSettings
from baselines.local_error import LocalErrorSettings


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
