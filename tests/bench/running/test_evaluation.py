"""Accuracy over a loader, with batches of any size."""

from types import SimpleNamespace

import pytest
import torch

from bench import methods
from bench.methods import settings
from bench.running import evaluation

TASK = SimpleNamespace(shape=(1, 8, 8), classes=3)
GENERATOR = torch.Generator().manual_seed(1)
IMAGES = torch.rand(20, 1, 8, 8, generator=GENERATOR)
LABELS = torch.randint(3, (20,), generator=GENERATOR)


def build(name, **chosen):
    budget = SimpleNamespace(epochs=1, steps_per_epoch=4)
    made = settings.make(name, chosen)
    return methods.get(name).build(TASK, made, budget, torch.device("cpu"), torch.Generator().manual_seed(0))


class Loader:
    samples = len(LABELS)

    def __init__(self, batch):
        self.batch = batch

    def epoch(self, _):
        return zip(IMAGES.split(self.batch), LABELS.split(self.batch), strict=True)


@pytest.mark.parametrize("batch", [20, 6])
@pytest.mark.parametrize("name", ["asge", "ff", "cwc"])
def test_one_pass_counts_what_passes_over_all_images_count(name, batch):
    learner = build(
        name, **{"asge": {"plan": "8,M,16"}, "ff": {"hidden": [20, 20]}, "cwc": {"channels": [9, 9, 9, 9]}}[name]
    )
    learner.finish([(IMAGES, LABELS)])
    seen = evaluation.evaluate(learner, Loader(batch), print)

    def accuracy(logits):
        return 100 * float((logits.argmax(1) == LABELS).double().mean())

    assert seen.strategies == pytest.approx({s: accuracy(learner.predict(IMAGES, s)) for s in learner.strategies})
    assert seen.layers == pytest.approx([accuracy(logits) for logits in learner.layer_logits(IMAGES)])
    assert seen.goodness == pytest.approx([float(value) for value in learner.layer_goodness(IMAGES)], rel=1e-5)


def test_goodness_of_asge_is_the_mean_square_of_its_activations():
    learner = build("asge", plan="8,M,16")
    with torch.no_grad():
        y = torch.relu(learner.network.blocks[0].unit.conv(IMAGES))
    seen = evaluation.evaluate(learner, Loader(6), print)
    assert seen.goodness[0] == pytest.approx(float((y * y).mean()), rel=1e-5)


def test_a_learner_without_layers_has_its_strategies_only():
    seen = evaluation.evaluate(build("backprop", plan="8,M,16"), Loader(6), print)
    assert seen.layers is None
    assert seen.goodness is None
    assert list(seen.strategies) == ["logits"]


def test_many_classes_have_a_top_5_accuracy_too():
    logits = torch.rand(20, 12, generator=GENERATOR)
    labels = torch.randint(12, (20,), generator=GENERATOR)
    learner = SimpleNamespace(predict=lambda images, _: logits[images])
    loader = SimpleNamespace(samples=20, epoch=lambda _: zip(torch.arange(20).split(6), labels.split(6), strict=True))
    (found,) = evaluation.accuracies(learner, ["logits"], loader, print).values()
    ranks = [sorted(row, reverse=True).index(row[label]) for row, label in zip(logits.tolist(), labels, strict=True)]
    assert found.top1 == 5.0 * sum(rank == 0 for rank in ranks)
    assert found.top5 == 5.0 * sum(rank < 5 for rank in ranks)
    assert 0 < found.top1 < found.top5 < 100
