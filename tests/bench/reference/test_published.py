from types import SimpleNamespace

import pytest

from bench.methods import settings
from bench.reference import published, reach
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


def figure(**changed):
    return published.Published("FF", "variant", "MNIST", "top1", 90.0, of="4x2000, goodness", **changed)


def record(suite="quick", overrides=(), augmentation=(), **settings):
    described = SimpleNamespace(settings=settings)
    return SimpleNamespace(
        suite=suite,
        overrides=dict(overrides),
        cell=SimpleNamespace(described=described, augmentation=augmentation),
    )


def strategy(name="fusion"):
    return SimpleNamespace(strategy=name, accuracy=80.0, accuracy_at_best_validation=91.5)


OF_A_SUITE = figure(suite="authors-cifar10", strategy="fusion")
OF_A_NETWORK = figure(strategy="goodness", augmentation=("shift",), network={"hidden": [2000, 2000]})


def test_the_epoch_best_on_validation_is_compared_where_the_recipe_is_the_same():
    found = published.compare(record("authors-cifar10"), strategy(), OF_A_SUITE)
    assert (found.value, found.gap, found.recipe) == (90.0, 1.5, published.SAME_RECIPE)


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        (record("authors-cifar10"), "best"),
        (record("quick"), "fusion"),
        (record("authors-cifar10", overrides={"epochs": 2}), "fusion"),
    ],
)
def test_beside_another_recipe_there_is_no_gap(ours, name):
    found = published.compare(ours, strategy(name), OF_A_SUITE)
    assert (found.value, found.gap, found.recipe) == (90.0, None, "of 4x2000, goodness")


def test_the_last_epoch_is_compared_where_network_strategy_and_augmentation_are_the_same():
    ours = record(hidden=(2000, 2000), augmentation=("shift",), learning_rate=0.1)
    found = published.compare(ours, strategy("goodness"), OF_A_NETWORK)
    assert (found.value, found.gap, found.recipe) == (90.0, -10.0, published.SAME_NETWORK)


@pytest.mark.parametrize(
    ("ours", "name", "theirs"),
    [
        (record(hidden=(500, 500), augmentation=("shift",)), "goodness", OF_A_NETWORK),
        (record(hidden=(2000, 2000), augmentation=("shift",)), "softmax", OF_A_NETWORK),
        (record(hidden=(2000, 2000)), "goodness", OF_A_NETWORK),
        (record(hidden=(2000, 2000)), "goodness", figure(strategy="goodness", network={"hidden": [2000, 2000]})),
        (record(hidden=(2000, 2000)), "goodness", figure(augmentation=(), network={"hidden": [2000, 2000]})),
        (record(hidden=(2000, 2000)), "goodness", figure(strategy="goodness", augmentation=())),
    ],
    ids=["network", "strategy", "augmentation", "unknown augmentation", "unknown strategy", "unknown network"],
)
def test_where_one_of_them_differs_or_is_not_known_there_is_no_gap(ours, name, theirs):
    found = published.compare(ours, strategy(name), theirs)
    assert (found.gap, found.recipe) == (None, "of 4x2000, goodness")


def test_beside_a_method_without_published_figures_there_is_nothing():
    assert published.compare(record(), strategy(), None) is None


def test_the_suites_that_a_figure_stands_beside_are_named():
    found = {(each.figure.method, each.figure.variant, each.figure.metric): each for each in reach.reaches("mnist")}
    assert found["ASGE", "headline", "top1"].suites["authors-mnist"] == published.SAME_RECIPE
    assert found["ASGE", "headline", "top1"].suites["paper-mnist"] == reach.OF_ANOTHER
    assert found["local-error pred", "VGG8b", "top1"].suites == {"paper-mnist-gpu": published.SAME_NETWORK}
    assert found["CaFo", "3-layer CNN", "top1"].reason == "no suite has this method and network with this data"
    assert all(bool(each.suites) != bool(each.reason) for each in found.values())
    assert {each.figure.dataset for each in found.values()} == {"MNIST"}


def test_metrics_that_no_suite_has_say_so():
    [*others] = [each for each in reach.reaches() if each.figure.metric != "top1"]
    assert {each.reason.partition(" ")[0] for each in others} == {"top5", "miou", "pixel_accuracy"}
