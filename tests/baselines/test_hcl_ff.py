import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from baselines.hcl_ff import HCLFFLearner, HCLFFSettings, coarse_labels, contrastive_loss, temperature_of

TASK = SimpleNamespace(shape=(1, 8, 8), classes=3)
BUDGET = SimpleNamespace(epochs=60, steps_per_epoch=5)


def make(**settings):
    options = {
        "plan": "6,M,9", "optimiser": "sgd", "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant",
        "learning_rate": 0.1, "clip_norm": 1e9, "hierarchy": [[[0, 2]], []],
    }  # fmt: skip
    return HCLFFLearner(
        TASK, HCLFFSettings(**options | settings), BUDGET, torch.device("cpu"), torch.Generator().manual_seed(0)
    )


def batch(size=12):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 1, 8, 8, generator=generator), torch.randint(3, (size,), generator=generator)


def contrast_by_loops(z, labels, temperature):
    total = 0.0
    for i in range(len(z)):
        partners = [j for j in range(len(z)) if j != i and labels[j] == labels[i]]
        scores = [float(z[i] @ z[k]) / temperature for k in range(len(z)) if k != i]
        normaliser = math.log(sum(math.exp(score) for score in scores))
        if partners:
            total -= sum(float(z[i] @ z[j]) / temperature - normaliser for j in partners) / len(partners)
    return total / len(z)


def test_contrast_by_loops_over_all_pairs():
    z = F.normalize(torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)), dim=1)
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 0])  # label 2 has no partner
    assert float(contrastive_loss(z, labels, 0.3)) == pytest.approx(contrast_by_loops(z, labels, 0.3))
    single = z[:1].clone().requires_grad_()
    contrastive_loss(single, labels[:1], 0.3).backward()
    assert not single.grad.any()


def test_the_published_network_takes_a_step_and_predicts():
    learner = make(plan="resnet17", width=9, learning_rate=1e-2)
    images, labels = batch()
    assert all(torch.isfinite(loss) for loss in learner.train_step(images, labels).values())
    assert learner.predict(images, "goodness").shape == (12, 3)


def test_a_step_equals_plain_gradient_descent_on_both_losses():
    learner = make()
    learner.begin_epoch(20)
    images, labels = batch()
    kernels = [layer.conv.weight.detach().clone() for layer in learner.layers]
    maps = [projection.linear.weight.detach().clone() for projection in learner.projections]
    head = learner.head.weight.detach().clone().requires_grad_()
    losses = learner.train_step(images, labels)
    x = F.layer_norm(images, images.shape[1:])
    coarse = torch.tensor([0, 1, 0])
    for index, (kernel, linear) in enumerate(zip(kernels, maps, strict=True)):
        kernel.requires_grad_()
        linear.requires_grad_()
        y = torch.relu(F.conv2d(x, kernel, padding=1))
        goodness = torch.stack([part.mean((1, 2, 3)) for part in y.chunk(3, 1)], 1)
        if index == 0:
            goodness = torch.stack([(goodness[:, 0] + goodness[:, 2]) / 2, goodness[:, 1]], 1)
        target = coarse[labels] if index == 0 else labels
        normal = F.group_norm(y, 3)
        read = F.avg_pool2d(normal, normal.shape[2] // 4).flatten(1) @ linear.T
        read = (read - read.mean(0)) / (read.var(0, correction=0) + 1e-5).sqrt()
        z = read / read.norm(dim=1, keepdim=True)
        logs = (z @ z.T / (0.8 - 0.6 * 20 / 50)).masked_fill(torch.eye(12, dtype=torch.bool), -1e9).log_softmax(1)
        same = (labels[:, None] == labels) & ~torch.eye(12, dtype=torch.bool)
        contrast = -(logs * same).sum(1) / same.sum(1).clamp_min(1)
        loss = F.cross_entropy(goodness, target) + contrast.mean()
        torch.testing.assert_close(losses[f"layer{index + 1}"], loss.detach())
        by_kernel, by_linear = torch.autograd.grad(loss, (kernel, linear))
        torch.testing.assert_close(learner.layers[index].conv.weight, kernel - 0.1 * by_kernel, rtol=1e-4, atol=1e-5)
        changed = learner.projections[index].linear.weight
        torch.testing.assert_close(changed, linear - 0.2 * by_linear, rtol=1e-4, atol=1e-5)
        x = F.max_pool2d(normal.detach(), 2) if index == 0 else normal.detach()
    loss = F.cross_entropy(x.mean((2, 3)) @ head.T, labels)
    torch.testing.assert_close(losses["softmax"], loss.detach())
    torch.testing.assert_close(learner.head.weight, head - 0.1 * torch.autograd.grad(loss, head)[0])


def test_temperatures_fall_as_published():
    values = [temperature_of(epoch, 150) for epoch in (0, 25, 50, 100, 150)]
    assert values == pytest.approx([0.8, 0.5, 0.2, 0.15, 0.1])


def test_layers_use_levels_of_the_hierarchy_in_order():
    levels = [[[0, 1, 2]], [[0, 1]], []]
    linear = make(plan="6,6,6,6,6,6", hierarchy=levels)
    rising = make(plan="6,6,6,6,6,6", hierarchy=levels, levels="increasing")
    assert [int(coarse.max()) + 1 for coarse in linear._coarse] == [1, 1, 2, 2, 3, 3]
    assert [int(coarse.max()) + 1 for coarse in rising._coarse] == [1, 2, 3, 3, 3, 3]


def test_labels_in_no_coarse_class_are_their_own():
    assert coarse_labels([[1, 3]], 5).tolist() == [1, 0, 2, 0, 3]
    with pytest.raises(ValueError, match="label 1 is in two coarse classes"):
        coarse_labels([[1], [1, 2]], 3)
    with pytest.raises(ValueError, match="label 3 is none of 3 classes"):
        coarse_labels([[3]], 3)


def test_the_ensemble_is_the_mean_of_two_predictions():
    learner = make()
    images, labels = batch()
    learner.train_step(images, labels)
    learner.finish([batch()])
    pruned, softmax = (learner.predict(images, name).softmax(1) for name in ("pruned", "softmax"))
    torch.testing.assert_close(learner.predict(images, "ensemble").exp(), (pruned + softmax) / 2)
