"""Every registered method, made small, in the settings whose ways through its code differ, and how to train one."""

from types import SimpleNamespace

import torch

from bench import methods
from bench.methods import settings

TASK = SimpleNamespace(shape=(1, 8, 8), classes=10)
EPOCHS, STEPS = 2, 4
SMALL = {
    "asge": [
        {"plan": "8,M,16"},
        {"plan": "8,M,16", "gating": "gct"},
        {"plan": "8s,16", "affine": True, "classifier_epochs": 1, "optimiser": "sgd", "learning_rate": 0.1},
    ],
    "backprop": [
        {"plan": "8,M,16"},
        {"plan": "8,M,16", "gating": "gct-l1", "gating_where": "block", "affine": True},
        {"plan": "8,M,16", "gating": "se"},
        {"topology": "vgg", "plan": "8,M,16", "hidden": [12], "dropout": 0.2, "accumulate": 2},
    ],
    "local-error": [
        {"plan": "8,M,16"},
        {"signal": "pred", "topology": "asge", "plan": "8,M,16", "affine": True},
        {"signal": "sim", "plan": "8,M,16", "hidden": [12], "dropout": 0.2},
    ],
    "ff": [{"hidden": [32, 32]}, {"plan": "8,M,16", "negatives": "hard", "goodness": "mean", "learning_rate": 1e-2}],
    "conv-aig": [
        {"architecture": "cifar-8", "target": 0.2, "rate_weight": 10.0, "learning_rate": 0.05, "schedule": "constant"},
        {"architecture": "cifar-8", "width": 0.5, "gating": "none", "learning_rate": 0.02},
        {"architecture": "cifar-8", "width": 0.5, "learning_rate": 0.02, "gate_learning_rate": 0.1},
        {"architecture": "cifar-8", "width": 0.5, "learning_rate": 0.02, "evaluation": "sample"},
    ],
    "bas": [
        {"architecture": "cifar-8", "shaping_until": 1.0, "l0_from": 0.0, "l0_until": 0.0, "learning_rate": 0.02},
        {"architecture": "cifar-8", "gating": "saliency", "learning_rate": 0.02},
    ],
    "asge-gated": [
        {
            "plan": "8,M,16",
            "shaping_until": 1.0,
            "l0_from": 0.0,
            "l0_until": 0.0,
            "l0_weight": 1.0,
            "learning_rate": 0.01,
        }
    ],
    "cwc": [
        {"channels": [10, 20], "train_until": [0.5, 1.0]},
        {"channels": [10, 20], "train_until": [1.0, 1.0], "blocks": "plain", "loss": "ce+pvn"},
        {"channels": [10, 20], "train_until": [1.0, 1.0], "head_learning_rate": 1e-3, "schedule": "cosine"},
    ],
}
"""Settings that make a method small, and such as take another way through its code."""
DEVICES = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
VARIANTS = [
    (name, values, device) for device in DEVICES for name in methods.names() for values in SMALL.get(name, [{}])
]


def build(variant, seed=0):
    name, values, device = variant
    generator = torch.Generator().manual_seed(seed)
    budget = SimpleNamespace(epochs=EPOCHS, steps_per_epoch=STEPS)
    made = settings.make(name, values)
    return methods.get(name).build(TASK, made, budget, device, generator), generator


def batches(epoch, learner, size=16):
    """The same images whatever the device, on the learner's."""
    device = next(iter(learner.parameters())).device
    generator = torch.Generator().manual_seed(100 + epoch)
    for step in range(STEPS):
        count = size if step < STEPS - 1 else 5
        labels = torch.randint(10, (count,), generator=generator)
        images = torch.randn(count, 1, 8, 8, generator=generator) + labels.view(-1, 1, 1, 1) / 5
        yield images.to(device), labels.to(device)


def train(learner, epochs):
    for epoch in epochs:
        learner.begin_epoch(epoch)
        for images, labels in batches(epoch, learner):
            learner.train_step(images, labels)
        learner.finish(batches(9, learner))


def outputs_of(learner, strategy):
    images, _ = next(batches(5, learner))
    return learner.predict(images, strategy)


def outputs(learner):
    return {strategy: outputs_of(learner, strategy) for strategy in learner.strategies}


def describe(variant):
    name, values, device = variant
    return "-".join([name, *map(str, values.values()), *(["cuda"] if device.type == "cuda" else [])])
