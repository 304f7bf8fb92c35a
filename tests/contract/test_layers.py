"""Contract of methods with observable layers: watching changes nothing, no gradient crosses a layer."""

import pytest

from bench.testing import SmallMethod, layers


@pytest.mark.parametrize("check", layers.CHECKS, ids=lambda check: check.name)
def test_an_optional_part(check, method, hold):
    hold(check, method)


def test_gradients_that_cross_layers_are_found_where_there_are_some():
    found = layers.reached(SmallMethod("backprop", {"plan": "8,M,16"}))
    assert 0 in found[-1]
