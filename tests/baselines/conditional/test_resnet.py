import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from baselines.conditional import skipping
from baselines.conditional.gates import BlockGate, ChannelGate
from baselines.conditional.resnet import GatedResNet, architecture
from bench.measure import flops

BLOCK_PIXELS = {64: 8 * 8, 128: 4 * 4, 256: 2 * 2, 512: 1}
"""Pixels of a bottleneck's output, by its width, for images of 32 x 32."""


def make(name="cifar-20", **options):
    torch.manual_seed(0)
    network = GatedResNet(name, 10, generator=torch.Generator().manual_seed(0), **options)
    for module in network.modules():  # as after some training: gates that differ, statistics that are not 0 and 1
        if isinstance(module, BlockGate | ChannelGate):
            nn.init.normal_(module.head.weight, std=2.0)
            nn.init.normal_(module.head.bias, std=0.3)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network


def images(batch=6, side=16):
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("gating", ["blocks", "channels", "saliency"])
@pytest.mark.parametrize("name", ["cifar-20", "imagenet-18", "imagenet-50"])
def test_what_is_skipped_is_what_the_gates_would_have_made_zero(name, gating):
    network = make(name, gating=gating, keep=0.5).double().eval()
    x = images(side=32).double()
    before = x.clone()
    with torch.no_grad():
        skipped, masked = network(x), network(x, skip=False)
    assert torch.equal(x, before)
    torch.testing.assert_close(network(x).logits, masked.logits, rtol=1e-10, atol=1e-10)  # with a gradient
    torch.testing.assert_close(skipped.logits, masked.logits, rtol=1e-10, atol=1e-10)
    assert torch.equal(skipped.logits.argmax(1), masked.logits.argmax(1))
    assert torch.equal(skipped.executed, masked.executed)
    assert torch.equal(skipped.macs, masked.macs)
    assert 0 < skipped.executed.mean() < 1


@pytest.mark.parametrize("alone", [False, True])
def test_gates_on_both_inner_convolutions_of_a_bottleneck(alone, monkeypatch):
    network = make("imagenet-50", gating="channels", bottleneck_gates="both").double().eval()
    x = images(side=32).double()
    monkeypatch.setattr(skipping, "_alone_pays", lambda *_: alone)
    with torch.no_grad():
        skipped, masked = network(x), network(x, skip=False)
        torch.testing.assert_close(skipped.logits, masked.logits, rtol=1e-10, atol=1e-10)
        assert torch.equal(skipped.macs, masked.macs)
        for block in network.blocks:
            for parameter in block.channel_gate.head.parameters():
                parameter.zero_()
            block.channel_gate.head.bias -= 1  # closed
        closed = network(x)
        torch.testing.assert_close(closed.logits, network(x, skip=False).logits, rtol=1e-10, atol=1e-10)
    assert not closed.executed.any()
    block = network.blocks[0]
    first, second = block.by_convolution(torch.arange(2.0 * len(block.norms[0].weight))[None])
    assert (first[0, 0], second[0, 0]) == (0, len(block.norms[0].weight))


def test_work_of_both_inner_convolutions_by_hand():
    network = make("imagenet-50", gating="channels", bottleneck_gates="both").double().eval()
    ungated = make("imagenet-50").double().eval()
    x = images(2, side=32).double()
    with torch.no_grad():
        found, whole = network(x), ungated(x)
    expected = whole.macs.clone()
    for block, gates in zip(network.blocks, found.gates, strict=True):
        width = gates.shape[1] // 2
        one, two = gates[:, :width].mean(1), gates[:, width:].mean(1)
        a, b, c = (conv.weight.numel() for conv in block.convolutions)
        out = BLOCK_PIXELS[block.convolutions[1].out_channels]
        before = 4 * out if block.convolutions[1].stride[0] == 2 else out
        expected -= a * before * (1 - one) + b * out * (1 - one * two) + c * out * (1 - two)
        expected += sum(m.weight.numel() for m in block.channel_gate.modules() if isinstance(m, nn.Linear))
    torch.testing.assert_close(found.macs, expected)


@pytest.mark.parametrize("gating", ["channels", "saliency"])
@pytest.mark.parametrize("name", ["cifar-20", "imagenet-18", "imagenet-50"])
def test_images_that_convolve_by_themselves_give_the_same(name, gating, monkeypatch):
    network = make(name, gating=gating, keep=0.5).double().eval()
    x = images(side=32).double()
    with torch.no_grad():
        masked = network(x, skip=False)
        alone = []
        monkeypatch.setattr(skipping, "_alone_pays", lambda *_: alone.append(True) or True)
        skipped = network(x)
    assert alone
    torch.testing.assert_close(skipped.logits, masked.logits, rtol=1e-10, atol=1e-10)
    assert torch.equal(skipped.logits.argmax(1), masked.logits.argmax(1))


def test_images_convolve_by_themselves_where_they_open_few_of_many_channels_on_large_maps():
    large = 56 * 56, 2 * 9 * 64 * 64
    apart, same = torch.eye(4), torch.ones(4, 4)
    assert skipping._alone_pays(apart, 4, *large)
    assert not skipping._alone_pays(apart, 4, 32 * 32, 2 * 9 * 16 * 16)  # little to do
    assert not skipping._alone_pays(apart, 4, 7 * 7, 2 * 9 * 512 * 512)  # many weights for few pixels
    assert not skipping._alone_pays(same, 4, *large)
    assert not skipping._alone_pays(apart[:1], 4, *large)


@pytest.mark.parametrize("gating", ["none", "blocks", "channels"])
def test_a_dilated_network_keeps_maps_an_eighth_of_the_image(gating):
    network = make("imagenet-18", gating=gating, dilated=True).double().eval()
    x = images(2, 64).double()
    with torch.no_grad():
        skipped, masked = (network.features(x, skip=skip)[0] for skip in (True, False))
    assert skipped.shape == (2, 512, 8, 8)
    torch.testing.assert_close(skipped, masked, rtol=1e-10, atol=1e-10)
    sides = {block.convolutions[-1].dilation[0] for block in network.blocks}
    assert sides == {1, 2, 4}


def test_maps_of_skipped_blocks_stay_as_convolutions_want_them():
    network = make(gating="blocks").to(memory_format=torch.channels_last).eval()
    with torch.no_grad():
        maps, outcome = network.features(images().contiguous(memory_format=torch.channels_last))
    assert 0 < outcome.executed.mean() < 1
    assert maps.is_contiguous(memory_format=torch.channels_last)


def test_a_batch_that_executes_everything():
    network = make(gating="blocks").eval()
    for module in network.modules():
        if isinstance(module, BlockGate):
            module.head.bias.data = torch.tensor([-1e3, 1e3])
    with torch.no_grad():
        outcome = network(images())
        assert outcome.executed.min() == 1
        torch.testing.assert_close(outcome.logits, network(images(), skip=False).logits)


def test_a_batch_that_executes_nothing_and_one_that_opens_nothing():
    for gating in ("blocks", "channels"):
        network = make(gating=gating).eval()
        for module in network.modules():
            if isinstance(module, BlockGate):
                module.head.bias.data = torch.tensor([1e3, -1e3])
            if isinstance(module, ChannelGate):
                module.head.bias.data.fill_(-1e3)
        with torch.no_grad():
            outcome = network(images())
        assert outcome.executed.sum() == 0
        torch.testing.assert_close(outcome.logits, network(images(), skip=False).logits)


@pytest.mark.parametrize(("depth", "gmacs"), [(18, 1.814), (34, 3.664), (50, 4.089), (101, 7.801)])
def test_published_work_of_the_networks_without_gates(depth, gmacs):
    network = GatedResNet(f"imagenet-{depth}", 1000, generator=torch.Generator()).eval()
    with torch.no_grad():
        macs = network(torch.zeros(1, 3, 224, 224)).macs
    assert macs.item() / 1e9 == pytest.approx(gmacs, abs=0.0006)


def weights_from_torchvision(ours, theirs):
    """Copy every weight and statistic to its counterpart."""

    def copy(to, source):
        to.load_state_dict(source.state_dict())

    copy(ours.stem, theirs.conv1)
    copy(ours.stem_norm, theirs.bn1)
    copy(ours.classifier, theirs.fc)
    of_theirs = [*theirs.layer1, *theirs.layer2, *theirs.layer3, *theirs.layer4]
    for block, other in zip(ours.blocks, of_theirs, strict=True):
        for place, (conv, norm) in enumerate(zip(block.convolutions, block.norms, strict=True), start=1):
            copy(conv, getattr(other, f"conv{place}"))
            copy(norm, getattr(other, f"bn{place}"))
        assert (block.shortcut is None) == (other.downsample is None)
        if block.shortcut is not None:
            copy(block.shortcut, other.downsample)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("depth", [18, 34, 50])
def test_without_gates_it_is_torchvisions_resnet(depth, training):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, f"resnet{depth}")(num_classes=10).double().train(training)
    ours = GatedResNet(f"imagenet-{depth}", 10, generator=torch.Generator()).double().train(training)
    assert len(list(ours.parameters())) == len(list(theirs.parameters()))
    weights_from_torchvision(ours, theirs)
    x = images(4, 64).double()
    expected = theirs(x)
    logits = ours(x).logits
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)
    gradients = [
        torch.autograd.grad(out.square().sum(), net.conv1.weight if net is theirs else net.stem.weight)[0]
        for out, net in ((expected, theirs), (logits, ours))
    ]
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-8)


def batch_norm(x, norm):
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)


def plain_block(block, x, gate):
    """A basic block with a stride of 1 and no projection, written out; ``gate`` is (B,) or (B, C)."""
    first, second = (conv.weight for conv in block.convolutions)
    inner = F.relu(batch_norm(F.conv2d(x, first, padding=1), block.norms[0]))
    if gate.dim() == 2:
        inner = inner * gate[:, :, None, None]
    residual = batch_norm(F.conv2d(inner, second, padding=1), block.norms[1])
    if gate.dim() == 1:
        residual = residual * gate[:, None, None, None]
    return F.relu(x + residual)


def plain_gate(gate, x, kind):
    """A gate's decision without noise, written out."""
    if kind == "saliency":
        s = F.relu(F.linear(x.abs().mean((2, 3)), gate.head.weight, gate.head.bias))
        least = s.sort(1, descending=True).values[:, gate.keep - 1 : gate.keep]
        return s * (s >= least)
    linear, norm, _ = gate.body
    logits = F.linear(
        F.relu(batch_norm(F.linear(x.mean((2, 3)), linear.weight), norm)), gate.head.weight, gate.head.bias
    )
    return (logits[:, 1] > logits[:, 0]).double() if kind == "blocks" else (logits > 0).double()


@pytest.mark.parametrize("gating", ["blocks", "channels", "saliency"])
def test_gated_blocks_are_those_written_down(gating):
    network = make("cifar-20", gating=gating, keep=0.3).double().eval()
    x = F.relu(batch_norm(F.conv2d(images().double(), network.stem.weight, padding=1), network.stem_norm))
    opened = []
    for block in network.blocks[:3]:
        gate = plain_gate(block.block_gate or block.channel_gate, x, gating)
        opened.append((gate > 0).double().reshape(len(x), -1).mean(1))
        x = plain_block(block, x, gate)
    assert 0 < torch.stack(opened).mean() < 1
    network.blocks = network.blocks[:3]
    found, outcome = network.features(images().double())
    torch.testing.assert_close(found, x, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(outcome.executed, torch.stack(opened, dim=1))


@pytest.mark.parametrize("gating", ["none", "blocks", "channels", "saliency"])
def test_counted_work_is_what_one_image_costs(gating):
    network = make(gating=gating, keep=0.3).eval()
    with torch.no_grad():
        for image in images(3):
            outcome = network(image[None])
            counted = flops.count(lambda image=image: network(image[None]))
            assert counted == pytest.approx(2 * outcome.macs.item(), rel=1e-6)


def test_a_block_whose_target_is_one_has_no_gate_and_always_runs():
    targets = [1, 0.5, 0.5, 1, 0.5, 0.5, 1, 0.5, 0.5]
    network = make(gating="blocks", targets=targets).eval()
    assert [block.block_gate is None for block in network.blocks] == [target == 1 for target in targets]
    with torch.no_grad():
        executed = network(images()).executed
    assert all((executed[:, place] == 1).all() for place in (0, 3, 6))


@pytest.mark.parametrize("gating", ["none", "blocks", "channels", "saliency"])
def test_a_training_step_reaches_every_parameter(gating):
    network = make(gating=gating)
    outcome = network(images(8))
    loss = outcome.logits.square().mean() + outcome.executed.mean()
    loss = loss + sum(gates.mean() for gates in outcome.soft_gates)
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert len(outcome.gates) == (0 if gating == "none" else 9)
    assert len(outcome.soft_gates) == (9 if gating in ("channels", "saliency") else 0)


def test_a_network_twice_as_wide_has_about_four_times_the_work():
    published, wide = (GatedResNet("cifar-20", 10, width=w, generator=torch.Generator()).eval() for w in (1.0, 2.0))
    with torch.no_grad():
        ratio = wide(images(1)).macs / published(images(1)).macs
    assert [conv.out_channels for conv in wide.blocks[-1].convolutions] == [128, 128]
    assert 3.8 < ratio.item() < 4.0  # the first convolution only doubles


def test_depths_of_the_published_cifar_networks():
    for depth, blocks in ((20, 9), (32, 15), (56, 27), (110, 54)):
        made = architecture(f"cifar-{depth}")
        assert sum(made.blocks) == blocks
    assert len(GatedResNet("imagenet-101", 10, gating="blocks", generator=torch.Generator()).blocks) == 33


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cifar-21", {}, "cifar-DEPTH with depth 6n [+] 2, or imagenet- and 18, 34, 50, 101; got 'cifar-21'"),
        ("imagenet-19", {}, "got 'imagenet-19'"),
        ("resnet", {}, "got 'resnet'"),
        ("cifar-20", {"targets": [1.0]}, "cifar-20 has 9 blocks, got 1 targets"),
    ],
)
def test_what_does_not_fit_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        GatedResNet(name, 10, generator=torch.Generator(), **options)
