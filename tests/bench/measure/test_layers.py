from types import SimpleNamespace

import pytest
import torch

from bench import methods
from bench.measure import layers
from bench.methods import settings

TASK = SimpleNamespace(shape=(1, 8, 8), classes=10)
BUDGET = SimpleNamespace(epochs=1, steps_per_epoch=4)
SMALL = {"asge": {"plan": "8,M,16,32"}, "ff": {"hidden": [32, 16]}, "cwc": {"channels": [10, 20, 40, 40]}}
DEPTH = {"asge": 3, "ff": 2, "cwc": 4}
IMAGES, LABELS = torch.randn(6, 1, 8, 8), torch.arange(6)


def build(name):
    made = settings.make(name, SMALL.get(name, {"plan": "8,M,16"}))
    learner = methods.get(name).build(TASK, made, BUDGET, torch.device("cpu"), torch.Generator().manual_seed(0))
    learner.begin_epoch(0)
    return learner


@pytest.mark.parametrize("name", sorted(SMALL))
def test_every_layer_has_a_time_and_live_bytes(name):
    learner = build(name)
    seen = layers.costs(learner, IMAGES, LABELS)
    assert len(seen.seconds) == len(seen.live_bytes) == DEPTH[name]
    assert min(seen.seconds) > 0
    held = sum(p.numel() * p.element_size() for p in learner.parameters())
    assert min(seen.live_bytes) > held
    assert learner.on_layer is None


def test_a_method_without_local_steps_is_not_watched():
    assert layers.costs(build("backprop"), IMAGES, LABELS) is None


def test_layers_that_have_stopped_learning_are_not_watched():
    made = settings.make("asge", {"plan": "8,M,16", "classifier_epochs": 1})
    budget = SimpleNamespace(epochs=2, steps_per_epoch=4)
    learner = methods.get("asge").build(TASK, made, budget, torch.device("cpu"), torch.Generator().manual_seed(0))
    learner.begin_epoch(1)
    assert layers.costs(learner, IMAGES, LABELS) is None


def test_live_bytes_of_a_layer_are_those_at_its_time():
    class TwoLayers:
        on_layer = None
        strategies = ()

        def train_step(self, images, labels):
            big = torch.zeros(1000)
            self.on_layer()
            del big
            small = torch.zeros(10)  # noqa: F841
            self.on_layer()
            return {}

        def parameters(self, strategy=None):
            return iter(())

    for name in ("begin_epoch", "finish", "predict", "state_dict", "load_state_dict"):
        setattr(TwoLayers, name, lambda *_: None)
    empty = torch.zeros(0)
    seen = layers.costs(TwoLayers(), empty, empty)
    assert seen.live_bytes == [4000, 4000]  # what is there when a layer's part begins counts, then it is gone

    class Gone(TwoLayers):
        def train_step(self, images, labels):
            torch.zeros(1000)
            self.on_layer()
            torch.zeros(10)
            self.on_layer()
            return {}

    assert layers.costs(Gone(), empty, empty).live_bytes == [4000, 40]
