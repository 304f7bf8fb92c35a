from types import SimpleNamespace

import pytest
import torch

from asge import ASGELearner, ASGESettings
from baselines.backprop import BackpropLearner, BackpropSettings
from bench.measure import probe

PLAN = "4,M,8"
CONVOLUTIONS = 4 * 9 + 4 + 8 * 4 * 9 + 8
CLASSIFIERS = 2 * (8 * 3 + 3)


@pytest.fixture
def learner():
    task = SimpleNamespace(shape=(1, 8, 8), classes=3)
    budget = SimpleNamespace(epochs=1, steps_per_epoch=10)
    made = ASGESettings(plan=PLAN, affine=False, optimiser="adamw", features="activations")
    return ASGELearner(task, made, budget, torch.device("cpu"), torch.Generator().manual_seed(0))


def test_training_figures_by_hand(learner):
    images, labels = torch.randn(16, 1, 8, 8), torch.randint(3, (16,))
    figures = probe.training(learner, images, labels)
    assert figures.parameters == CONVOLUTIONS + CLASSIFIERS
    assert figures.parameter_bytes == 4 * figures.parameters
    assert figures.live_gradient_bytes == 0  # a block's are gone before the next one runs
    # AdamW: two moments and a step counter per tensor; the fixed projections: 3 x (4 * 2 * 2) and 3 x 8, and biases
    tensors, projections = 8, 3 * 16 + 3 + 3 * 8 + 3
    assert figures.live_optimiser_bytes == 4 * (2 * figures.parameters + tensors + projections)
    assert figures.peak_live_bytes > figures.state_bytes
    assert figures.images_per_second_compute > 0
    convolutions = 2 * (64 * 4 * 9 + 16 * 8 * 4 * 9)
    linear = 2 * (3 * 16 + 3 * 8) + 2 * (3 * 8 + 3 * 8)
    assert figures.flops_per_image == 2 * (convolutions + linear)


def test_a_rough_look_counts_the_same_and_calls_its_times_noisy(learner):
    images, labels = torch.randn(16, 1, 8, 8), torch.randint(3, (16,))
    whole, rough = (probe.training(learner, images, labels, rough=rough) for rough in (False, True))
    assert rough.peak_live_bytes == whole.peak_live_bytes
    assert rough.flops_per_image == whole.flops_per_image
    assert rough.noisy
    assert rough.relative is None
    whole, rough = (probe.prediction(learner, "last", images, rough=rough) for rough in (False, True))
    assert rough.noisy
    assert rough.images_per_second > 0
    assert (rough.parameters, rough.flops_per_image, rough.peak_live_bytes) == (
        whole.parameters, whole.flops_per_image, whole.peak_live_bytes,
    )  # fmt: skip


def test_gradients_that_a_step_leaves_behind_count():
    task, budget = SimpleNamespace(shape=(1, 8, 8), classes=3), SimpleNamespace(epochs=1, steps_per_epoch=10)
    backprop = BackpropLearner(
        task, BackpropSettings(plan=PLAN), budget, torch.device("cpu"), torch.Generator().manual_seed(0)
    )
    figures = probe.training(backprop, torch.randn(16, 1, 8, 8), torch.randint(3, (16,)))
    assert figures.live_gradient_bytes == figures.parameter_bytes


def test_live_bytes_of_training_repeat_exactly(learner):
    images, labels = torch.randn(16, 1, 8, 8), torch.randint(3, (16,))
    first = probe.training(learner, images, labels)
    assert probe.training(learner, images, labels).peak_live_bytes == first.peak_live_bytes


def test_work_is_the_mean_over_the_phases_of_training_and_memory_that_of_the_greediest():
    task = SimpleNamespace(shape=(1, 8, 8), classes=3)

    def figures(epochs, **settings):
        budget = SimpleNamespace(epochs=epochs, steps_per_epoch=10)
        made = ASGESettings(plan=PLAN, affine=False, optimiser="adamw", features="activations", **settings)
        learner = ASGELearner(task, made, budget, torch.device("cpu"), torch.Generator().manual_seed(0))
        generator = torch.Generator().manual_seed(1)
        images, labels = torch.randn(16, 1, 8, 8, generator=generator), torch.randint(3, (16,), generator=generator)
        return probe.training(learner, images, labels, epochs=epochs)

    convolutions = 2 * (64 * 4 * 9 + 16 * 8 * 4 * 9)
    classifiers, projections = 2 * 2 * (8 * 3 + 8 * 3), 2 * 2 * (3 * 16 + 3 * 8)
    blocks_only = 2 * convolutions + projections
    afterwards = convolutions + classifiers
    assert figures(4, classifier_epochs=1).flops_per_image == (3 * blocks_only + afterwards) / 4
    longest = figures(100, classifier_epochs=25)  # 25 of its epochs are looked at, the first and the last among them
    assert longest.flops_per_image == pytest.approx((3 * blocks_only + afterwards) / 4, rel=0.02)
    assert figures(4, classifier_epochs=1).peak_live_bytes > figures(1).peak_live_bytes / 2


def test_prediction_figures_by_hand_and_nothing_changes(learner):
    images = torch.randn(16, 1, 8, 8)
    before = [p.clone() for p in learner.parameters()]
    figures = probe.prediction(learner, "last", images)
    assert figures.parameters == CONVOLUTIONS + 8 * 3 + 3
    assert figures.flops_per_image == 2 * (64 * 4 * 9 + 16 * 8 * 4 * 9 + 8 * 3)
    for old, new in zip(before, learner.parameters(), strict=True):
        assert torch.equal(old, new)
