"""Checks that every registered task must pass, also those of other packages."""

import pytest

from bench.testing import tasks


@pytest.mark.parametrize("check", tasks.CHECKS, ids=lambda check: check.name)
def test_a_task(check, task, hold):
    hold(check, task)
