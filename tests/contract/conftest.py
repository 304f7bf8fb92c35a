"""The variants that each check of the contract runs over."""

import pytest
from variants import VARIANTS, describe

from bench.measure.determinism import deterministic


@pytest.fixture(params=VARIANTS, ids=describe)
def variant(request):
    with deterministic(request.param[2]):
        yield request.param
