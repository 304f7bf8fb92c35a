"""The step that is written out equals autograd's, and lets go of what it no longer needs."""

import weakref
from types import SimpleNamespace

import pytest
import torch

from asge import ASGELearner, ASGESettings
from asge.block import ASGEBlock
from asge.layers.gating import make_gate
from asge.step import autograd_step, fast_step


def block(**options):
    made = ASGEBlock(
        3, 5, classes=4, scale=2.0, **{"patches": 2} | options, generator=torch.Generator().manual_seed(0)
    ).double()
    if made.unit.gamma is not None:
        torch.nn.init.normal_(made.unit.gamma, generator=torch.Generator().manual_seed(1))
        torch.nn.init.normal_(made.unit.beta, generator=torch.Generator().manual_seed(2))
    return made


def images(size):
    return torch.randn(7, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def both(made, size, *, propagate=True, memory_format=torch.channels_last, seed=None):
    x = images(size).to(memory_format=memory_format)
    labels = torch.randint(4, (7,), generator=torch.Generator().manual_seed(4))
    for step in (autograd_step, fast_step):
        made.zero_grad()
        outcome = step(made, x.clone(memory_format=torch.preserve_format), labels, propagate=propagate, seed=seed)
        yield outcome, [parameter.grad for parameter in made.parameters()]


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("size", "patches"), [((8, 8), 1), ((8, 8), 2), ((8, 8), 4), ((8, 12), 4), ((7, 9), 1), ((7, 9), 2), ((14, 10), 6)]
)
@pytest.mark.parametrize("pool", [1, 2, 4])
@pytest.mark.parametrize("pooling", ["rms", "soft", "max", "avg"])
def test_the_fast_step_equals_autograd(size, patches, pool, pooling, reduction):
    made = block(patches=patches, pool=pool, pooling=pooling, reduction=reduction)
    (plain, plain_gradients), (fast, fast_gradients) = both(made, size)
    close(fast.loss, plain.loss)
    close(fast.features, plain.features)
    close(fast.next_input, plain.next_input)
    assert not fast.next_input.requires_grad
    assert len(plain_gradients) == 2
    for gradient, expected in zip(fast_gradients, plain_gradients, strict=True):
        assert float(expected.abs().max()) > 1e-6
        close(gradient, expected)


@pytest.mark.parametrize("options", [{"affine": True}, {"stride": 2}, {"affine": True, "stride": 2, "pool": 2}])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_so_it_does_with_what_is_seldom_used(options, memory_format):
    made = block(**options)
    (plain, plain_gradients), (fast, fast_gradients) = both(made, (16, 16), memory_format=memory_format)
    assert len(plain_gradients) == len(list(made.parameters()))
    for value, expected in zip(
        [fast.loss, fast.next_input, *fast_gradients], [plain.loss, plain.next_input, *plain_gradients], strict=True
    ):
        close(value, expected)


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("pooling", ["rms", "avg"])
@pytest.mark.parametrize(
    "options",
    [
        {"normalization": "rms"},
        {"normalization": "rms", "affine": True},
        {"dropout": 0.3},
        {"normalization": "rms", "dropout": 0.3},
        {"projection": "gaussian", "projection_scale": "classes", "projection_bias": "gaussian"},
        {"label_smoothing": 0.2},
        {"goodness": "activations"},
        {"goodness": "activations", "features": "energies", "reduction": "sum"},
        {"features": "propagated", "normalization": "rms", "dropout": 0.3},
    ],
)
def test_so_it_does_with_every_other_choice(options, pooling, pool):
    made = block(**options, pool=pool, pooling=pooling)
    (plain, plain_gradients), (fast, fast_gradients) = both(made, (8, 8), seed=5)
    evaluated = made.propagate(made.activate(images((8, 8))))
    assert torch.allclose(fast.next_input, evaluated) == ("dropout" not in options)
    close(fast.features, plain.features)
    for value, expected in zip(
        [fast.loss, fast.next_input, *fast_gradients], [plain.loss, plain.next_input, *plain_gradients], strict=True
    ):
        close(value, expected)


@pytest.mark.parametrize("propagate", [True, False])
@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("features", ["activations", "energies", "propagated"])
def test_features_are_what_the_block_says(features, reduction, size, propagate):
    made = block(features=features, reduction=reduction, pool=2)
    y = made.activate(images(size)).detach()
    expected = {"activations": y, "energies": y.square(), "propagated": made.propagate(y)}[features].mean((2, 3))
    for outcome, _ in both(made, size, propagate=propagate):
        close(outcome.features, expected)
        assert (outcome.next_input is None) == (not propagate)


@pytest.mark.parametrize("gating", ["gct", "gct-l1", "se"])
@pytest.mark.parametrize("affine", [False, True])
def test_so_it_does_behind_a_gate(gating, affine):
    generator = torch.Generator().manual_seed(4)
    gate = make_gate(gating, 3, generator=generator).double()
    for parameter in gate.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    made = block(gate=gate, affine=affine, pool=2)
    (plain, plain_gradients), (fast, fast_gradients) = both(made, (8, 8))
    assert len(plain_gradients) == 2 + 2 * affine + len(list(gate.parameters()))
    assert not fast.next_input.requires_grad
    for value, expected in zip(
        [fast.loss, fast.next_input, *fast_gradients], [plain.loss, plain.next_input, *plain_gradients], strict=True
    ):
        close(value, expected)


@pytest.mark.parametrize("pool", [1, 2])
def test_the_last_block_makes_no_input_and_the_same_gradients(pool):
    (plain, plain_gradients), (fast, fast_gradients) = both(block(pool=pool), (8, 8), propagate=False)
    assert plain.next_input is fast.next_input is None
    for gradient, expected in zip(fast_gradients, plain_gradients, strict=True):
        close(gradient, expected)


def test_a_map_smaller_than_its_patches_is_refused_by_both():
    for step in (autograd_step, fast_step):
        with pytest.raises(ValueError, match="patches must be from 1 to 4 for maps of 4 x 4, got 8"):
            step(block(patches=8).float(), torch.randn(2, 3, 4, 4), torch.tensor([0, 1]), propagate=True)


@pytest.mark.parametrize("images", [1, 9])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_in_float32_gradients_have_the_layout_of_their_parameters(images, memory_format):
    made = block(pool=2).float().to(memory_format=memory_format)
    x, labels = torch.randn(images, 3, 8, 8), torch.randint(4, (images,))
    found = []
    for step in (autograd_step, fast_step):
        made.zero_grad()
        step(made, x.contiguous(memory_format=torch.channels_last), labels, propagate=True)
        found.append([parameter.grad for parameter in made.parameters()])
        assert all(parameter.grad.stride() == parameter.stride() for parameter in made.parameters())
    for gradient, expected in zip(*found, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


def test_it_runs_in_mixed_precision():
    made = block(pool=2, affine=True).float()
    x, labels = torch.randn(6, 3, 8, 8), torch.randint(4, (6,))
    found = []
    for step in (autograd_step, fast_step):
        made.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            step(made, x, labels, propagate=True)
        found.append([parameter.grad for parameter in made.parameters()])
        assert all(gradient.dtype == torch.float32 for gradient in found[-1])
    for gradient, expected in zip(*found, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0.05, atol=0.05 * float(expected.abs().max()))


def test_many_images_are_squared_in_parts(monkeypatch):
    monkeypatch.setattr("asge.step.SLICE_BYTES", 5 * 64 * 8 * 3)  # three images, then one more
    (plain, plain_gradients), (fast, fast_gradients) = both(block(pool=2), (8, 8))
    close(fast.next_input, plain.next_input)
    for gradient, expected in zip(fast_gradients, plain_gradients, strict=True):
        close(gradient, expected)


def test_blocks_updated_one_by_one_or_together_learn_the_same(monkeypatch):
    together = learner()
    monkeypatch.setattr("asge.stage.GROUP_BYTES", 1000)
    apart = learner()
    assert (len(together.state_dict()["blocks"]), len(apart.state_dict()["blocks"])) == (1, 3)
    for made in (together, apart):
        for _ in range(3):
            made.train_step(*batch())
    for one, other in zip(together.parameters(), apart.parameters(), strict=True):
        assert torch.equal(one, other)


def learner(**settings):
    return ASGELearner(
        SimpleNamespace(shape=(1, 8, 8), classes=4),
        ASGESettings(plan="6,8,M,8,12", **settings),
        SimpleNamespace(epochs=1, steps_per_epoch=10),
        torch.device("cpu"),
        torch.Generator().manual_seed(0),
    )


def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(16, 1, 8, 8, generator=generator), torch.randint(4, (16,), generator=generator)


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
@pytest.mark.parametrize("library", [True, False], ids=["oneDNN", "native"])
def test_training_is_the_same_with_either(library):
    with torch.backends.mkldnn.flags(enabled=library):
        _train_both()


def _train_both():
    first, second = learner(step="fast", optimiser="sgd"), learner(step="autograd", optimiser="sgd")
    for _ in range(5):
        for made in (first, second):
            made.train_step(*batch())
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("step", ["fast", "autograd"])
def test_activations_are_gone_before_the_next_but_one_block_runs(step, monkeypatch):
    made = learner(step=step)
    alive, seen = [], []
    owner, name = ASGEBlock, "activate"
    activate = getattr(owner, name)

    def watched(block, x):
        seen.append(sum(reference() is not None for reference in alive))
        y = activate(block, x)
        alive.append(weakref.ref(y.untyped_storage()))
        return y

    monkeypatch.setattr(owner, name, watched)
    made.train_step(*batch())
    assert len(seen) == 4
    assert all(count <= 1 for count in seen)


@pytest.mark.parametrize("step", ["fast", "autograd"])
def test_gradients_of_large_blocks_are_gone_when_the_next_one_runs(step, monkeypatch):
    monkeypatch.setattr("asge.stage.GROUP_BYTES", 1)
    made = learner(step=step)
    activate = ASGEBlock.activate

    def watched(self, x):
        assert all(parameter.grad is None for parameter in made.parameters())
        return activate(self, x)

    monkeypatch.setattr(ASGEBlock, "activate", watched)
    made.train_step(*batch())
