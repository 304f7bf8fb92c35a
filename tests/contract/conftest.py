"""The methods, with each of their small settings, and the tasks that the checks of the contract run over."""

import pytest
import torch

from bench import methods
from bench.data.sets import tasks
from bench.testing import NotOffered, RegisteredTask, variants

DEVICES = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]


def marked(subject):
    return pytest.param(subject, marks=[pytest.mark.gpu] if subject.device.type == "cuda" else [])


METHODS = [marked(made) for device in DEVICES for name in methods.names() for made in variants(name, device)]
IN_HALF = [marked(variants(name, device, "bf16")[0]) for device in DEVICES for name in methods.names()]


def describe(subject):
    values = map(str, subject.settings.values())
    where = [*(["cuda"] if subject.device.type == "cuda" else []), *(["bf16"] if subject.precision == "bf16" else [])]
    return "-".join([subject.name, *values, *where])


@pytest.fixture(params=METHODS, ids=describe)
def method(request):
    return request.param


@pytest.fixture(params=IN_HALF, ids=describe)
def in_half_precision(request):
    return request.param


@pytest.fixture(scope="module", params=tasks.task_names())
def task(request):
    return RegisteredTask.named(request.param)


@pytest.fixture
def hold():
    """Runs a check; one of an optional part that is not there is skipped."""

    def run(check, subject):
        try:
            check(subject)
        except NotOffered as missing:
            pytest.skip(str(missing))

    return run
