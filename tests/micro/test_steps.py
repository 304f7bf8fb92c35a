"""Time of one training step and one prediction of every method at its defaults, 128 images of 1 x 28 x 28."""

from types import SimpleNamespace

import pytest
import torch

from bench import methods
from bench.methods import settings

TASK = SimpleNamespace(shape=(1, 28, 28), classes=10)
BUDGET = SimpleNamespace(epochs=10, steps_per_epoch=100)


@pytest.fixture(params=methods.names())
def learner(request):
    method = methods.get(request.param)
    generator = torch.Generator().manual_seed(0)
    made = method.build(TASK, settings.make(request.param, {}), BUDGET, torch.device("cpu"), generator)
    made.begin_epoch(0)
    return made


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(128, 1, 28, 28, generator=generator), torch.randint(10, (128,), generator=generator)


@pytest.mark.benchmark(group="train step")
def test_train_step(benchmark, learner, batch):
    benchmark.pedantic(learner.train_step, batch, rounds=5, warmup_rounds=1)
    benchmark.extra_info["images"] = len(batch[0])


@pytest.mark.benchmark(group="predict")
def test_predict(benchmark, learner, batch):
    benchmark.pedantic(learner.predict, (batch[0], learner.strategies[0]), rounds=5, warmup_rounds=1)
    benchmark.extra_info["images"] = len(batch[0])
