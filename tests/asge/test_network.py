import pytest
import torch

from asge.network import PLANS, ASGENetwork, parse_plan


def test_a_plan_by_hand():
    layers = parse_plan("16,M,32,M,64", (1, 28, 28))
    assert [(x.in_channels, x.channels, x.pool, x.height, x.width) for x in layers] == [
        (1, 16, 2, 28, 28),
        (16, 32, 2, 14, 14),
        (32, 64, 1, 7, 7),
    ]


def test_two_pools_in_a_row_make_one_of_four():
    layers = parse_plan("8,M,M,16", (3, 32, 32))
    assert [(x.pool, x.height) for x in layers] == [(4, 32), (1, 8)]


def test_a_strided_convolution_halves_as_a_pool_does_but_rounds_up():
    layers = parse_plan("8s,16s,M,32", (1, 28, 28))
    assert [(x.stride, x.pool, x.height) for x in layers] == [(2, 1, 14), (2, 2, 7), (1, 1, 3)]
    network = ASGENetwork((1, 28, 28), 10, plan="8s,16s,M,32", generator=torch.Generator().manual_seed(0))
    assert [y.shape[2] for y in network.activations(torch.randn(2, 1, 28, 28))] == [14, 7, 3]


def test_vgg8_and_vgg11_are_the_authors():
    layers = parse_plan("vgg8", (3, 32, 32))
    assert [(x.channels, x.pool, x.height) for x in layers] == [
        (128, 1, 32), (256, 2, 32), (256, 1, 16), (512, 2, 16), (512, 2, 8), (512, 2, 4), (512, 1, 2),
    ]  # fmt: skip
    weights = [9 * x.in_channels * x.channels for x in layers]
    assert round(sum(weights) / 1e6, 2) == 9.15
    assert round(sum(w * x.height * x.width for w, x in zip(weights, layers, strict=True)) / 1e6) == 957
    deeper = [x.channels for x in parse_plan("vgg11", (3, 32, 32))]
    assert deeper == [128, 256, 256, 512, 512, 512, 512, 512, 512, 512]


def test_features_and_classifiers_of_an_unknown_kind_are_refused():
    for option, message in (
        ({"features": "maps"}, "features must be 'activations', 'energies' or 'propagated', got 'maps'"),
        ({"fusion_layers": "two"}, "fusion_layers must be 'joint' or 'per-block', got 'two'"),
        ({"classifier_init": "one"}, "classifier_init must be 'zero' or 'kaiming', got 'one'"),
    ):
        with pytest.raises(ValueError, match=message):
            ASGENetwork((1, 28, 28), 10, **option, generator=torch.Generator().manual_seed(0))


def test_vgg8b_at_32_pixels():
    layers = parse_plan("vgg8b", (3, 32, 32))
    assert [(x.channels, x.pool, x.height) for x in layers] == [
        (128, 1, 32),
        (256, 2, 32),
        (256, 1, 16),
        (512, 2, 16),
        (512, 2, 8),
        (512, 2, 4),
    ]


@pytest.mark.parametrize(
    ("plan", "shape", "patches"),
    [
        ("small", (1, 28, 28), [8, 4, 2, 1]),
        ("tiny", (1, 8, 8), [4, 2, 1]),
        ("vgg8", (3, 32, 32), [4, 2, 2, 1, 1, 1, 1]),
        ("vgg8b", (3, 64, 64), [4, 2, 2, 1, 1, 1]),
        ("imagenet", (3, 224, 224), [8, 4, 2, 2, 1, 1, 1]),
    ],
)
def test_patches_of_the_named_plans_by_hand(plan, shape, patches):
    network = ASGENetwork(shape, 10, plan=plan, generator=torch.Generator().manual_seed(0))
    assert [block.patches for block in network.blocks] == patches


def test_activations_have_the_sizes_of_the_plan():
    network = ASGENetwork((1, 28, 28), 10, plan="16,M,32,M,64", generator=torch.Generator().manual_seed(0))
    images = torch.randn(2, 1, 28, 28)
    assert [tuple(y.shape) for y in network.activations(images)] == [(2, 16, 28, 28), (2, 32, 14, 14), (2, 64, 7, 7)]
    assert len(list(network.activations(images, depth=2))) == 2


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("huge", "neither one of tiny"),
        ("32,M,x", "'x' is not a number"),
        (f"32,M,{10**30}", "more than 1,000,000 channels"),
        ("8,0", "'0' is not a number"),
        ("M,32,64", "before its first"),
        ("32", "at least two"),
        ("32,M,M,M,M,64", "to nothing"),
        ("32,0", "'0' is not a number"),
        ("32,64ss", "'64ss' is not a number"),
        ("s,64", "'s' is not a number"),
    ],
)
def test_wrong_plans_say_what_is_wrong(plan, message):
    with pytest.raises(ValueError, match=message):
        parse_plan(plan, (1, 8, 8))


def test_all_named_plans_fit_32_pixels():
    for plan in PLANS:
        assert parse_plan(plan, (3, 32, 32))


@pytest.mark.parametrize(("where", "channels"), [("every", [3, 8, 8, 16]), ("block", [3, 8])])
def test_gates_stand_before_every_convolution_or_the_first_of_each_size(where, channels):
    plan, generator = "8,8,M,16,16", torch.Generator()
    made = ASGENetwork((3, 8, 8), 4, plan=plan, gating="gct", gating_where=where, generator=generator)
    gated = [block.unit.gate for block in made.blocks if block.unit.gate is not None]
    assert [len(gate.alpha) for gate in gated] == channels
