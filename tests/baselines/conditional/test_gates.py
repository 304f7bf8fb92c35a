import math

import pytest
import torch
from torch import nn

from baselines.conditional.gates import BlockGate, ChannelGate, SaliencyGate


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(batch=4, channels=8):
    return torch.randn(batch, channels, 5, 5, generator=generator(9))


def test_a_block_is_executed_with_the_published_probability_at_first():
    gate = BlockGate(8, generator=generator())
    x = torch.randn(4000, 8, 1, 1, generator=generator(1))
    expected = math.exp(2) / (math.exp(2) + math.exp(0.1))
    assert expected == pytest.approx(0.87, abs=0.001)
    assert gate(x).mean().item() == pytest.approx(expected, abs=0.02)  # 0.02: four deviations of the mean
    torch.testing.assert_close(gate.logits(x).softmax(1)[:, 1], torch.full((4000,), expected), atol=0.005, rtol=0)


@pytest.mark.parametrize("kind", [BlockGate, lambda channels, **options: ChannelGate(channels, 6, **options)])
def test_a_batch_of_one_image_is_normalised_as_in_evaluation(kind):
    gate = kind(8, generator=generator())
    gate(images())
    before = [buffer.clone() for buffer in gate.buffers()]
    alone = gate.logits(images(1))
    assert alone.requires_grad
    torch.testing.assert_close(alone, gate.eval().logits(images(1)), rtol=0, atol=0)
    assert all(torch.equal(old, new) for old, new in zip(before, gate.buffers(), strict=True))


def block_gate():
    return BlockGate(8, generator=generator())


def channel_gate():
    return ChannelGate(8, 6, generator=generator())


@pytest.mark.parametrize("make", [block_gate, channel_gate])
def test_evaluation_is_deterministic_and_training_follows_the_generator(make):
    gate, x = make(), images()
    nn.init.normal_(gate.head.weight, generator=generator(2))
    torch.manual_seed(1)
    drawn = [gate(x) for _ in range(30)]
    again = make()
    nn.init.normal_(again.head.weight, generator=generator(2))
    torch.manual_seed(2)
    assert all(torch.equal(one, again(x)) for one in drawn)
    assert len({tuple(one.flatten().tolist()) for one in drawn}) > 1
    gate.eval()
    assert torch.equal(gate(x), gate(x))
    assert set(gate(x).unique().tolist()) <= {0.0, 1.0}


def test_a_block_gates_gradient_is_that_of_the_tempered_softmax():
    gate, x = BlockGate(8, tau=0.7, generator=generator()), images()
    nn.init.normal_(gate.head.weight, generator=generator(2))
    gate._generator.manual_seed(5)
    z = gate(x)
    by_logits = torch.autograd.grad(z.sum(), gate.head.bias)[0]
    noise = -(-torch.rand(4, 2, generator=generator(5), dtype=torch.float64).log()).log().float()
    gate.body[1].reset_running_stats()
    logits = gate.logits(x)
    soft = ((logits + noise) / 0.7).softmax(1)[:, 1]
    torch.testing.assert_close(z, ((logits + noise).argmax(1)).float())
    torch.testing.assert_close(by_logits, torch.autograd.grad(soft.sum(), gate.head.bias)[0])


def test_a_channel_gates_gradient_is_that_of_the_tempered_sigmoid():
    gate = ChannelGate(8, 6, generator=generator())
    logits = torch.randn(4, 6, generator=generator(3), requires_grad=True)
    gate._generator.manual_seed(5)
    g = gate.sample(logits)
    uniform = torch.rand(4, 6, generator=generator(5), dtype=torch.float64)
    noise = (uniform.log() - (1 - uniform).log()).float()
    soft = ((logits + noise) / (2 / 3)).sigmoid()
    torch.testing.assert_close(g, (soft > 0.5).float())
    torch.testing.assert_close(*(torch.autograd.grad(each.sum(), logits)[0] for each in (g, soft)))


def test_channel_gates_open_as_often_as_their_soft_value_says():
    gate = ChannelGate(1, 3, generator=generator())
    logits = torch.tensor([-1.0, 0.0, 2.0]).expand(20000, 3)
    torch.testing.assert_close(gate.sample(logits).mean(0), logits[0].sigmoid(), atol=0.015, rtol=0)


def test_the_most_salient_channels_stay_open_and_are_scaled():
    gate = SaliencyGate(2, 4, keep=0.5, generator=generator())
    gate.head.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0], [0.0, 0.0]])
    x = torch.tensor([[[[2.0, -4.0]], [[1.0, 1.0]]]])  # means of |x|: 3 and 1
    torch.testing.assert_close(gate.logits(x), torch.tensor([[4.0, 2.0, 0.0, 1.0]]))
    torch.testing.assert_close(gate(x), torch.tensor([[4.0, 2.0, 0.0, 0.0]]))
    gate.sample(logits := torch.tensor([[4.0, 2.0, 0.0, 1.0]], requires_grad=True)).sum().backward()
    assert logits.grad.tolist() == [[1.0, 1.0, 0.0, 0.0]]


def test_a_gate_by_saliency_leaves_at_least_one_channel_open_and_at_most_all():
    x = images()
    few, all_ = (SaliencyGate(8, 6, keep=keep, generator=generator()) for keep in (0.01, 1.0))
    assert (few(x) > 0).sum(1).tolist() == [1] * 4
    assert torch.equal(all_(x), all_.logits(x))
