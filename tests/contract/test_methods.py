"""Checks that every registered method must pass, also those of other packages."""

import pytest

from bench.testing import methods


@pytest.mark.parametrize("check", methods.CHECKS, ids=lambda check: check.name)
def test_a_method(check, method, hold):
    hold(check, method)
