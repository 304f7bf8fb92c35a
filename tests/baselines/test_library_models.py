from types import SimpleNamespace

import pytest
import torch

from baselines.backprop import BackpropLearner, BackpropSettings
from baselines.library_models import library_model

BUDGET = SimpleNamespace(epochs=1, steps_per_epoch=10)


def make(name, shape=(3, 32, 32)):
    return library_model(f"timm:{name}", shape, 10, generator=torch.Generator().manual_seed(0))


def test_a_resnet_on_small_images_keeps_their_size_in_its_stem():
    model = make("resnet18").model
    assert model.conv1.stride == (1, 1)
    assert model.conv1.kernel_size == (3, 3)
    stem = model.layer1(model.maxpool(model.act1(model.bn1(model.conv1(torch.zeros(1, 3, 32, 32))))))
    assert stem.shape == (1, 64, 32, 32)
    # the 11.2 million of ResNet-18 on CIFAR: 11,689,512 of ImageNet's, less its classifier and the larger stem
    assert sum(p.numel() for p in model.parameters()) == 11_689_512 - (513_000 - 5130) - 64 * 3 * (49 - 9)


def test_a_resnet_on_large_images_is_as_published():
    model = make("resnet18", (3, 64, 64)).model
    assert model.conv1.kernel_size == (7, 7)
    assert model.conv1.stride == (2, 2)


def test_grey_images_and_other_families():
    for name in ("mobilenetv3_small_050", "vit_tiny_patch16_224"):
        assert make(name, (1, 28, 28)).eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_a_transformer_reads_every_pixel():
    model = make("vit_tiny_patch16_224", (1, 28, 28)).model
    assert model.patch_embed.patch_size == (4, 4)
    assert model.patch_embed.num_patches == 49


def test_a_model_that_cannot_be_made_for_such_images_is_one_sentence():
    with pytest.raises(ValueError, match="timm's vit_small_r26_s32_224 does not fit images of 32 x 32 pixels"):
        make("vit_small_r26_s32_224")


def test_weights_come_from_the_generator_and_the_global_one_is_left_alone():
    torch.manual_seed(5)
    first, after = make("resnet10t"), torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))
    second = make("resnet10t")
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_backprop_trains_one():
    generator = torch.Generator().manual_seed(0)
    learner = BackpropLearner(
        SimpleNamespace(shape=(1, 16, 16), classes=10),
        BackpropSettings(model="timm:resnet10t"),
        BUDGET,
        torch.device("cpu"),
        generator,
    )
    images, labels = torch.randn(8, 1, 16, 16, generator=generator), torch.arange(8)
    losses = [learner.train_step(images, labels)["loss"].item() for _ in range(6)]
    assert losses[-1] < losses[0]
    learner.predict(images, "logits")
    assert torch.equal(learner.predict(images, "logits"), learner.predict(images, "logits"))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("timm:resnet1", "timm has no model 'resnet1'; it has .*resnet"),
        ("timm:", "'stack' or a name such as 'timm:resnet18', got 'timm:'"),
        ("torchvision:resnet1", "torchvision has no model 'resnet1'; it has .*resnet"),
        ("keras:resnet18", "got 'keras:resnet18'"),
    ],
)
def test_an_unknown_model_is_one_sentence(model, message):
    with pytest.raises(ValueError, match=message):
        BackpropLearner(
            SimpleNamespace(shape=(3, 32, 32), classes=10),
            BackpropSettings(model=model),
            BUDGET,
            torch.device("cpu"),
            torch.Generator(),
        )


def test_a_model_of_torchvision_reads_grey_images_and_keeps_their_size():
    model = library_model("torchvision:resnet18", (1, 28, 28), 10, generator=torch.Generator().manual_seed(0)).model
    assert model.conv1.weight.shape == (64, 1, 3, 3)
    assert isinstance(model.maxpool, torch.nn.Identity)
    assert sum(p.numel() for p in model.parameters()) == 11_689_512 - (513_000 - 5130) - 64 * (3 * 49 - 9)


@pytest.mark.parametrize("name", ["timm:densenet121", "torchvision:densenet121"])
def test_a_densenet_on_small_images_has_no_pool_in_its_stem(name):
    model = library_model(name, (3, 32, 32), 10, generator=torch.Generator().manual_seed(0)).model
    assert isinstance(model.features.pool0, torch.nn.Identity)
    assert model.features.conv0.stride == (1, 1)


def test_inception_gives_logits_in_training_too():
    model = library_model("torchvision:inception_v3", (3, 80, 80), 10, generator=torch.Generator().manual_seed(0))
    assert model.train()(torch.zeros(2, 3, 80, 80)).shape == (2, 10)
