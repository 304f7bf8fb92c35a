import pytest
import timm
import torch
import torchvision
from torch import nn

from asge.layers.pooling import replace_pools, soft_pool2d
from asge.layers.pooling.replace import Pool2d

NETWORKS = {
    "torchvision resnet18": (torchvision.models.resnet18, 1),
    "torchvision densenet121": (torchvision.models.densenet121, 4),
    "torchvision inception_v3": (lambda: torchvision.models.inception_v3(init_weights=False), 4),
    "timm resnet18": (lambda: timm.create_model("resnet18"), 1),
    "timm densenet121": (lambda: timm.create_model("densenet121"), 4),
    "timm inception_v3": (lambda: timm.create_model("inception_v3"), 4),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_every_pool_that_makes_maps_smaller_is_replaced_and_no_map_changes_its_size(network):
    make, expected = NETWORKS[network]
    torch.manual_seed(0)
    model = make().eval()
    sizes = []
    hooks = [
        module.register_forward_hook(lambda _, __, out: sizes.append(out.shape))
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
    ]
    images = torch.randn(1, 3, 107, 107)
    with torch.no_grad():
        before = model(images)
        plain, sizes[:] = list(sizes), []
        assert replace_pools(model) == expected
        after = model(images)
    for hook in hooks:
        hook.remove()
    assert sizes == plain
    assert not torch.equal(before, after)
    pools = [module for module in model.modules() if isinstance(module, nn.MaxPool2d | nn.AvgPool2d)]
    assert all(module.stride in (1, (1, 1)) for module in pools)


def test_the_published_stem_of_a_resnet():
    model = torchvision.models.resnet18()
    replace_pools(model)
    x = torch.randn(1, 64, 6, 6)
    assert torch.equal(model.maxpool(x), soft_pool2d(x, 2))
    assert "'soft', kernel_size=2, stride=2" in repr(model.maxpool)


def test_a_pool_inside_a_block_is_the_named_one():
    block = torchvision.models.inception.InceptionB(4).eval()
    x = torch.randn(2, 4, 9, 9)
    with torch.no_grad():
        branches = block(x)
        replace_pools(block, "avg")
        replaced = block(x)
    assert torch.equal(replaced[:, :-4], branches[:, :-4])  # the convolutions' branches
    torch.testing.assert_close(replaced[:, -4:], nn.functional.avg_pool2d(x, 3, 2))


def test_gradients_pass_a_replaced_block():
    block = torchvision.models.inception.InceptionB(4)
    replace_pools(block)
    x = torch.randn(2, 4, 9, 9, requires_grad=True)
    block(x)[:, -4:].sum().backward()
    other = x.detach().requires_grad_()
    soft_pool2d(other, 3, 2).sum().backward()
    torch.testing.assert_close(x.grad, other.grad)


def test_windows_that_are_not_centred_stay_as_they_are():
    model = nn.Sequential(nn.MaxPool2d(3, 2), nn.AvgPool2d(2), nn.MaxPool2d(3, 1, 1))
    assert replace_pools(model, "rms") == 2
    assert [type(module) for module in model] == [Pool2d, Pool2d, nn.MaxPool2d]
    assert model(torch.randn(1, 1, 10, 10)).shape == (1, 1, 2, 2)


def test_a_network_without_pools_is_refused():
    with pytest.raises(ValueError, match="Sequential has no pool"):
        replace_pools(nn.Sequential(nn.Conv2d(1, 1, 1)))
