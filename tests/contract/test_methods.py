"""The checks that every registered method has to pass, whoever wrote it."""

import pytest

from bench.testing import methods


@pytest.mark.parametrize("check", methods.CHECKS, ids=lambda check: check.name)
def test_a_method(check, method, hold):
    hold(check, method)
