from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from baselines.conditional import bas
from baselines.conditional.bas import BASSettings
from baselines.conditional.batch_shaping import l0_weight, shaping_weight

TASK = SimpleNamespace(shape=(3, 16, 16), classes=10)
BUDGET = SimpleNamespace(epochs=10, steps_per_epoch=10)


def build(**settings):
    made = BASSettings(architecture="cifar-8", **settings)
    return bas.build(TASK, made, BUDGET, torch.device("cpu"), torch.Generator().manual_seed(0))


def batch(count=8):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, 16, 16, generator=generator), torch.randint(10, (count,), generator=generator)


@pytest.mark.parametrize(
    ("progress", "shaping", "l0"),
    [(0.0, 0.75, 0.0), (0.1, 0.375, 0.0), (0.2, 0.0, 0.0), (0.4, 0.0, 2.0), (0.6, 0.0, 4.0), (1.0, 0.0, 4.0)],
)
def test_weights_follow_the_published_schedule(progress, shaping, l0):
    settings = BASSettings(l0_weight=4.0)
    assert shaping_weight(settings, progress) == pytest.approx(shaping)
    assert l0_weight(settings, progress) == pytest.approx(l0)


def test_weights_that_hold_from_the_start():
    settings = BASSettings(shaping_until=0.0, l0_from=0.0, l0_until=0.0, l0_weight=4.0)
    assert (shaping_weight(settings, 0.0), l0_weight(settings, 0.0)) == (0.0, 4.0)


def test_an_l0_loss_that_ends_to_rise_before_it_begins_is_refused():
    with pytest.raises(ValueError, match=r"l0_from \(0.5\) must not be after l0_until \(0.4\)"):
        build(l0_from=0.5, l0_until=0.4)


@pytest.mark.parametrize("step", [0, 50])
def test_losses_are_those_written_down(step):
    learner, twin = (build(l0_weight=2.0) for _ in range(2))
    learner._step = step
    images, labels = batch()
    losses = learner.train_step(images, labels)
    outcome = twin.network.train()(images.contiguous(memory_format=torch.channels_last))
    soft = torch.cat(outcome.soft_gates, dim=1).detach().double().numpy()
    distances = [
        sum((n / 9 - stats.beta(0.6, 0.4).cdf(x)) ** 2 for n, x in enumerate(sorted(column), start=1))
        for column in soft.T
    ]
    expected = {
        "loss": F.cross_entropy(outcome.logits, labels).item(),
        "shaping": (0.75 if step == 0 else 0.0) * sum(distances) / len(distances),
        "l0": (0.0 if step == 0 else 2.0 * 0.75) * soft.mean(),
    }
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-4)


def test_saliency_keeps_its_share_of_channels_and_its_mean_small():
    learner = build(gating="saliency", keep=0.25, l0_weight=3.0)
    images, labels = batch()
    losses = learner.train_step(images, labels)
    assert set(losses) == {"loss", "saliency"}
    assert learner.executed_layers(images).unique().tolist() == [0.25]
    opened = learner.layer_values([(images, labels)])["open"]
    assert [layer.mean().item() for layer in opened] == pytest.approx([0.25] * 3)


def test_a_strong_l0_loss_closes_gates_and_saves_work():
    learner = build(l0_weight=30.0, shaping_weight=0.0, l0_from=0.0, l0_until=0.0, schedule="constant")
    images, labels = batch(32)
    before = learner.executed_macs(images).mean()
    for _ in range(60):
        learner.train_step(images, labels)
    assert learner.executed_macs(images).mean() < 0.7 * before


@pytest.mark.parametrize("gating", ["channels", "saliency"])
def test_gates_have_no_weight_decay(gating):
    plain, decayed = (build(gating=gating, weight_decay=decay) for decay in (0.0, 0.5))
    for learner in (plain, decayed):
        learner.train_step(*batch())
    others = dict(decayed.network.named_parameters())
    for name, value in plain.network.named_parameters():
        if "_gate." in name:
            assert torch.equal(value, others[name]), name
        elif "convolutions" in name:
            assert not torch.equal(value, others[name]), name


def test_gates_join_a_network_that_has_learned_without_them():
    ungated, gated = build(gating="none"), build()
    images, labels = batch()
    ungated.train_step(images, labels)
    drawn = {name: value.clone() for name, value in gated.network.state_dict().items()}
    gated.begin_with(ungated.state_dict())
    for name, value in gated.network.state_dict().items():
        assert torch.equal(value, drawn[name] if "_gate." in name else ungated.network.state_dict()[name]), name
    with pytest.raises(ValueError, match=r"it is another network: .*channel_gate"):
        ungated.begin_with(gated.state_dict())
    with pytest.raises(ValueError, match=r"it is another network: stem.weight is not the same in both"):
        build(width=2.0).begin_with(ungated.state_dict())


def test_gates_may_have_a_rate_of_their_own():
    rates = {"slow": (0.01, None), "fast": (0.2, None), "both": (0.01, 0.2)}
    after = {}
    for name, (rate, of_gates) in rates.items():
        learner = build(learning_rate=rate, gate_learning_rate=of_gates, schedule="constant")
        learner.train_step(*batch())
        after[name] = dict(learner.network.named_parameters())
    for name, value in after["both"].items():
        assert torch.equal(value, after["fast" if "_gate." in name else "slow"][name]), name
    assert any(not torch.equal(after["fast"][name], after["slow"][name]) for name in after["slow"] if "_gate." in name)


def test_gates_decay_only_if_asked_to():
    after = {}
    for name, decay, of_gates in (("free", 0.0, None), ("default", 0.5, 0.0), ("all", 0.5, None), ("own", 0.0, 0.5)):
        learner = build(weight_decay=decay, gate_weight_decay=of_gates, schedule="constant")
        learner.train_step(*batch())
        after[name] = dict(learner.network.named_parameters())
    for name, value in after["default"].items():
        assert torch.equal(value, after["free" if "_gate." in name else "all"][name]), name
    for name, value in after["own"].items():
        assert torch.equal(value, after["all" if "_gate." in name else "free"][name]), name
    assert any(not torch.equal(after["all"][name], after["free"][name]) for name in after["all"] if "_gate." in name)
