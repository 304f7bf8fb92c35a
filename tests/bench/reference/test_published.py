from types import SimpleNamespace

import pytest

from bench.methods import settings
from bench.reference import published
from bench.suites.describe import description


def accuracy(method, task, **values):
    found = published.figure(description(method, settings.canonical(method, values), task))
    return found and found.value


def test_published_accuracies_by_method_and_task():
    assert accuracy("asge", "fashion-mnist") == 93.41
    assert accuracy("cwc", "cifar100") == 51.23
    assert accuracy("ff", "mnist") == 98.64
    assert accuracy("ff", "mnist", hidden=[1000, 1000, 1000]) == 98.55


def test_where_nothing_comparable_is_published():
    assert accuracy("asge", "digits") is None
    assert accuracy("backprop", "mnist") is None
    assert published.figure(description("unheard-of", {}, "mnist")) is None


def test_a_published_figure_is_of_a_network():
    vgg8b = {"topology": "vgg", "plan": "vgg8b", "hidden": [1024], "pooling": "max"}
    assert accuracy("backprop", "cifar10") is None
    assert accuracy("backprop", "cifar10", **vgg8b) == 94.01
    assert accuracy("backprop", "mnist", model="timm:resnet18") == 99.58
    assert accuracy("backprop", "cifar10", model="timm:resnet18") == 94.03
    assert accuracy("local-error", "mnist", signal="pred", **vgg8b) == 99.60
    assert accuracy("local-error", "cifar10", signal="predsim", **vgg8b) == 94.42
    assert accuracy("local-error", "cifar10", signal="sim", **vgg8b) == 92.84
    assert accuracy("backprop", "mnist", **vgg8b) == 99.74
    assert accuracy("local-error", "cifar10", signal="pred") is None
    assert accuracy("backprop", "cifar10", **vgg8b | {"pooling": "rms"}) is None
    assert accuracy("cwc", "mnist", blocks="plain") is None
    assert accuracy("ff", "mnist", plan="small") is None
    assert accuracy("bas", "imagenet", architecture="imagenet-50") == 74.60
    assert accuracy("bas", "imagenet", architecture="imagenet-18", gating="none") == 69.76
    assert accuracy("bas", "imagenet", architecture="imagenet-50", width=2.0) is None
    assert accuracy("bas", "cifar10") is None
    assert accuracy("conv-aig", "imagenet", architecture="imagenet-50") == 75.39


RECORD = SimpleNamespace(suite="authors-cifar10", overrides={})
FIGURE = published.Published(90.0, "authors-cifar10", "fusion")


def strategy(name="fusion"):
    return SimpleNamespace(strategy=name, accuracy=80.0, accuracy_at_best_validation=91.5)


def test_the_epoch_best_on_validation_is_compared_where_the_recipe_is_the_same():
    found = published.compare(RECORD, strategy(), FIGURE)
    assert (found.value, found.gap, found.recipe) == (90.0, 1.5, published.SAME_RECIPE)


@pytest.mark.parametrize(
    ("record", "name"),
    [
        (RECORD, "best"),
        (SimpleNamespace(suite="quick", overrides={}), "fusion"),
        (SimpleNamespace(suite="authors-cifar10", overrides={"epochs": 2}), "fusion"),
    ],
)
def test_beside_another_recipe_there_is_no_gap(record, name):
    found = published.compare(record, strategy(name), FIGURE)
    assert (found.value, found.gap, found.recipe) == (90.0, None, published.OTHER_RECIPE)


def test_a_figure_without_a_suite_is_compared_with_the_last_epoch():
    found = published.compare(RECORD, strategy(), published.Published(90.0))
    assert (found.value, found.gap, found.recipe) == (90.0, -10.0, "")
    assert published.compare(RECORD, strategy(), None) is None
