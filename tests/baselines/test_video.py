import pytest
import torch
import torch.nn.functional as F
import torchvision

from baselines.video import Pool3d, video_network


def make(**options):
    return video_network(5, generator=torch.Generator().manual_seed(0), **options)


def video():
    return torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.slow
def test_it_is_r3d_18_but_for_the_pools():
    ours, theirs = make(), torchvision.models.video.r3d_18(num_classes=5)
    assert [tuple(p.shape) for p in ours.parameters()] == [tuple(p.shape) for p in theirs.parameters()]
    assert all(module.stride == (1, 1, 1) for module in ours.modules() if isinstance(module, torch.nn.Conv3d))
    sizes = [module.size for module in ours.modules() if isinstance(module, Pool3d)]
    assert sizes == [(1, 2, 2)] + 6 * [(2, 2, 2)]  # in the stem, and before the convolution and the shortcut of a stage


@pytest.mark.parametrize("pooling", ["soft", "rms", "max", "avg"])
def test_maps_shrink_as_they_do_with_strides(pooling):
    network = make(pooling=pooling, blocks=(1, 1, 1, 1)).eval()
    x = video()
    with torch.no_grad():
        stem = network.stem(x)
        assert stem.shape == (2, 64, 8, 16, 16)
        assert network.layer4(network.layer3(network.layer2(network.layer1(stem)))).shape == (2, 512, 1, 2, 2)
        assert network(x).shape == (2, 5)


@pytest.mark.slow
def test_steps_lower_the_loss_and_a_seed_is_a_network():
    network, again = make(blocks=(1, 1, 1, 1)), make(blocks=(1, 1, 1, 1))
    assert torch.equal(network.fc.weight, again.fc.weight)
    labels = torch.tensor([1, 3])
    optimiser = torch.optim.SGD(network.parameters(), 0.02)
    losses = []
    for _ in range(4):
        optimiser.zero_grad()
        loss = F.cross_entropy(network(video()), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
