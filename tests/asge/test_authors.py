"""The settings of the authors' code are its training step, written again from its description in plain PyTorch."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from asge import ASGELearner, ASGESettings
from asge.block import ASGEBlock, dropout_mask
from asge.settings import AUTHORS
from asge.stage import dropout_seeds
from bench.suites import expand, file

TASK = SimpleNamespace(shape=(3, 16, 16), classes=5)
BUDGET = SimpleNamespace(epochs=4, steps_per_epoch=1)
PLAN = "8,16,M,16,32,M,32,M"
POOLED = (False, True, False, True, True)
CHANNELS = (8, 16, 16, 32, 32)


class Theirs:
    """Blocks, their fixed read-outs and the classifier of fusion; every part has its own AdamW."""

    def __init__(self, network):
        self.blocks = [
            nn.Conv2d(b.unit.conv.in_channels, b.unit.conv.out_channels, 3, padding=1).double() for b in network.blocks
        ]
        self.heads = [nn.Linear(channels, 5).double() for channels in CHANNELS[1:]]
        for mine, theirs in zip(
            [*(b.unit.conv for b in network.blocks), *network.fusion.layers], [*self.blocks, *self.heads], strict=True
        ):
            theirs.load_state_dict(mine.state_dict())
        self.read_outs = [(b.weight.clone(), b.bias.clone()) for b in network.blocks]
        parts = [*self.blocks, nn.ModuleList(self.heads)]
        self.optimisers = [torch.optim.AdamW(part.parameters(), 2e-4, weight_decay=1e-3) for part in parts]
        self.schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(o, 4, eta_min=1e-5) for o in self.optimisers]

    def step(self, x, labels, masks):
        losses, features = [], []
        for conv, (weight, bias), pool, mask, optimiser in zip(
            self.blocks, self.read_outs, POOLED, masks, self.optimisers, strict=False
        ):
            y = F.relu(conv(x))
            goodness = F.adaptive_avg_pool2d(y**2, 32 // conv.out_channels)
            loss = F.cross_entropy(goodness.flatten(1) @ weight.T + bias, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
            x = (F.avg_pool2d(y, 2) if pool else y).detach()
            x = x if mask is None else x * mask
            x = x / ((x**2).mean((1, 2, 3), keepdim=True).sqrt() + math.exp(-50))
            features.append(x.mean((2, 3)))
        logits = sum(head(each) for head, each in zip(self.heads, features[1:], strict=True))
        loss = F.cross_entropy(logits, labels)
        self.optimisers[-1].zero_grad()
        loss.backward()
        self.optimisers[-1].step()
        for schedule in self.schedules:  # an epoch has one step here
            schedule.step()
        return [*losses, loss.item()]


def close(a, b):
    torch.testing.assert_close(
        torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("step", ["fast", "autograd"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_training_steps_equal_the_authors(dropout, step):
    settings = ASGESettings(**{**AUTHORS, "plan": PLAN, "dropout": dropout, "step": step})
    learner = ASGELearner(TASK, settings, BUDGET, torch.device("cpu"), torch.Generator().manual_seed(0))
    learner.network.double()
    theirs = Theirs(learner.network)
    draws = torch.Generator().manual_seed(0)
    draws.set_state(learner._generator.get_state())
    for number in range(3):
        generator = torch.Generator().manual_seed(number)
        images = torch.rand(9, 3, 16, 16, generator=generator, dtype=torch.float64)
        labels = torch.randint(5, (9,), generator=generator)
        seeds = dropout_seeds(learner.network.blocks, draws) or [None] * 5
        sides = (16, 8, 8, 4, 2)
        masks = [
            seed and dropout_mask((9, channels, side, side), dropout, seed, images)
            for seed, channels, side in zip(seeds, CHANNELS, sides, strict=True)
        ]
        losses = learner.train_step(images, labels)
        close([losses[f"layer{n}"] for n in range(1, 6)] + [losses["fusion"]], theirs.step(images, labels, masks))
    for mine, other in zip(
        [*(b.unit.conv for b in learner.network.blocks), *learner.network.fusion.layers],
        [*theirs.blocks, *theirs.heads],
        strict=True,
    ):
        close(mine.weight.detach(), other.weight.detach())
        close(mine.bias.detach(), other.bias.detach())


def test_predictions_drop_nothing_and_equal_the_authors():
    settings = ASGESettings(**{**AUTHORS, "plan": PLAN})
    learner = ASGELearner(TASK, settings, BUDGET, torch.device("cpu"), torch.Generator().manual_seed(0))
    learner.network.double()
    x = images = torch.rand(4, 3, 16, 16, dtype=torch.float64)
    features = []
    for block, pool in zip(learner.network.blocks, POOLED, strict=True):
        y = F.relu(F.conv2d(x, block.unit.conv.weight, block.unit.conv.bias, padding=1))
        x = F.avg_pool2d(y, 2) if pool else y
        x = x / ((x**2).mean((1, 2, 3), keepdim=True).sqrt() + math.exp(-50))
        features.append(x.mean((2, 3)))
    heads = learner.network.fusion.layers
    expected = sum(head(each) for head, each in zip(heads, features[1:], strict=True))
    close(learner.predict(images, "fusion").detach(), expected.detach())
    close(learner.predict(images, "last").detach(), learner.network.last(features[-1]).detach())
    seen = learner.examine(images)
    for strategy in ("last", "fusion", "best"):
        close(seen.strategies[strategy].detach(), learner.predict(images, strategy).detach())


def test_the_fixed_read_out_has_the_authors_scale_and_a_drawn_bias():
    options = {"projection": "gaussian", "projection_scale": "classes", "projection_bias": "gaussian"}
    block = ASGEBlock(3, 64, patches=4, classes=400, **options, generator=torch.Generator().manual_seed(0))
    assert float(block.weight.std()) == pytest.approx(1 / 20, rel=0.02)
    assert float(block.bias.std()) == pytest.approx(1 / 20, rel=0.1)
    narrow = ASGEBlock(3, 64, patches=4, classes=400, projection="gaussian", generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(narrow.weight * math.sqrt(64 * 16) / 20, block.weight)
    assert not narrow.bias.any()


def test_first_weights_of_the_classifiers():
    made = ASGELearner(
        TASK, ASGESettings(**AUTHORS), BUDGET, torch.device("cpu"), torch.Generator().manual_seed(0)
    ).network
    assert [layer.in_features for layer in made.fusion.layers] == [256, 256, 512, 512, 512, 512]
    for layer in (*made.fusion.layers, made.last):
        assert float(layer.weight.detach().std()) == pytest.approx(math.sqrt(2 / layer.in_features), rel=0.1)
        assert not layer.bias.any()
    assert made.last.in_features == 512


def test_masks_are_a_function_of_their_seed():
    like = torch.empty(0)
    mask = dropout_mask((8, 16, 9, 9), 0.25, 7, like)
    assert torch.equal(mask, dropout_mask((8, 16, 9, 9), 0.25, 7, like))
    assert not torch.equal(mask, dropout_mask((8, 16, 9, 9), 0.25, 8, like))
    assert mask.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(mask.mean()) == pytest.approx(1, abs=0.02)


def test_without_dropout_nothing_is_drawn():
    learner = ASGELearner(TASK, ASGESettings(plan=PLAN), BUDGET, torch.device("cpu"), torch.Generator().manual_seed(0))
    before = learner._generator.get_state()
    learner.train_step(torch.rand(4, 3, 16, 16), torch.arange(4))
    assert torch.equal(learner._generator.get_state(), before)


def test_a_resumed_training_drops_the_same():
    def make():
        generator = torch.Generator().manual_seed(0)
        return ASGELearner(
            TASK, ASGESettings(plan=PLAN, dropout=0.3), BUDGET, torch.device("cpu"), generator
        ), generator

    images, labels = torch.rand(6, 3, 16, 16), torch.arange(6) % 5
    whole, generator = make()
    whole.train_step(images, labels)
    state, drawn = copy.deepcopy(whole.state_dict()), generator.get_state()
    whole.train_step(images, labels)
    resumed, generator = make()
    resumed.load_state_dict(state)
    generator.set_state(drawn)
    resumed.train_step(images, labels)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("task", "augmentation", "validation"),
    [
        ("mnist", (), 10_000),
        ("fashion", ("flip",), 10_000),
        ("cifar10", ("crop", "flip", "colour-jitter", "greyscale"), 5_000),
        ("cifar100", ("crop", "flip", "colour-jitter", "greyscale"), 5_000),
    ],
)
def test_the_suites_have_the_authors_settings(task, augmentation, validation):
    suite = file.load(f"authors-{task}")
    assert suite.methods["asge"] == AUTHORS
    cells = expand.cells(suite)
    assert {cell.method for cell in cells} == {"asge"}
    assert [cell.seed for cell in cells] == [0, 1, 2]
    first = cells[0]
    assert (first.augmentation, first.validation_samples, first.split) == (augmentation, validation, "random")
    assert (first.epochs, first.batch_size, first.scaling, first.augmented_validation) == (100, 128, "rms", True)
    assert first.resize == (None if "cifar" in task else 32)
