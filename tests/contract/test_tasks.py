"""The checks that every registered task has to pass, whoever wrote it."""

import pytest

from bench.testing import tasks


@pytest.mark.parametrize("check", tasks.CHECKS, ids=lambda check: check.name)
def test_a_task(check, task, hold):
    hold(check, task)
