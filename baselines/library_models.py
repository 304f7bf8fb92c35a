"""Classification models of timm and torchvision by name, adapted to small images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

SMALL_SIDE = 64
"""Side in pixels below which a model's stem keeps the size of the image."""
TOKENS_PER_SIDE = 8
COLOURS = 3
STEM_POOLS = ("maxpool", "features.pool0")
"""Max pools of the stem of ResNets and DenseNets, in both libraries."""
WITH_AUXILIARY = ("googlenet", "inception_v3")
"""Models of torchvision with auxiliary classifiers, which add an output in training."""


def library_model(name: str, shape: tuple[int, int, int], classes: int, *, generator: torch.Generator) -> Drawing:
    """Make a model by name, without pretrained weights.

    For images of less than 64 pixels a side the first convolution gets stride 1 and a 3x3 kernel and the max pool after
    it is left out, as is usual for ResNets on CIFAR; a transformer cuts them into 8 x 8 tokens or thereabouts.

    Args:
        name: "timm:" and one of ``timm.list_models()``, or "torchvision:" and one of
            ``torchvision.models.list_models()``.
        shape: (C, H, W) of the images.
        classes: N.
        generator: draws initial weights, and later dropout.

    Raises:
        ValueError: if there is no such model, or it does not fit the images.
    """
    library, _, own_name = name.partition(":")
    if library not in MAKERS or not own_name:
        raise ValueError(f"model must be 'stack' or a name such as 'timm:resnet18', got {name!r}")
    model = MAKERS[library](own_name, shape, classes, generator)
    return Drawing(model, generator)


def _from_timm(name: str, shape: tuple[int, int, int], classes: int, generator: torch.Generator) -> nn.Module:
    import timm  # a second to import, and only here needed

    if not timm.is_model(name):
        raise _no_such("timm", name, timm.list_models(f"{name[:6]}*"))
    channels, height, width = shape
    options: dict[str, Any] = {"num_classes": classes, "in_chans": channels, "pretrained": False}
    sized = options | {"img_size": (height, width)}
    attempts = [sized, options]
    if min(height, width) < SMALL_SIDE:
        attempts.insert(0, sized | {"patch_size": _patch(height)})
    return _fitting("timm", name, shape, generator, lambda: _first_accepted(name, attempts))


def _from_torchvision(name: str, shape: tuple[int, int, int], classes: int, generator: torch.Generator) -> nn.Module:
    from torchvision import models

    if name not in models.list_models(models):
        raise _no_such("torchvision", name, models.list_models(models, include=f"{name[:6]}*"))
    options: dict[str, Any] = {"aux_logits": False, "init_weights": True} if name in WITH_AUXILIARY else {}

    def make() -> nn.Module:
        model: nn.Module = models.get_model(name, weights=None, num_classes=classes, **options)
        if shape[0] != COLOURS:
            _read_channels(model, shape[0])
        return model

    return _fitting("torchvision", name, shape, generator, make)


MAKERS: dict[str, Callable[[str, tuple[int, int, int], int, torch.Generator], nn.Module]] = {
    "timm": _from_timm,
    "torchvision": _from_torchvision,
}


def _no_such(library: str, name: str, close: Sequence[str]) -> ValueError:
    return ValueError(f"{library} has no model {name!r}" + (f"; it has {', '.join(close[:5])}, ..." if close else ""))


def _fitting(
    library: str,
    name: str,
    shape: tuple[int, int, int],
    generator: torch.Generator,
    make: Callable[[], nn.Module],
) -> nn.Module:
    """Make a model and check that it runs on such images."""
    _, height, width = shape
    with drawn_from(generator, torch.device("cpu")):
        try:
            model = make()
            if min(height, width) < SMALL_SIDE:
                _keep_size(model)
            with torch.no_grad():
                model.eval()(torch.zeros(1, *shape))
        except Exception as error:  # models of a thousand kinds fail in as many ways
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(
                f"{library}'s {name} does not fit images of {height} x {width} pixels: {reason}"
            ) from error
    return model


def _first_accepted(name: str, attempts: Sequence[dict[str, Any]]) -> nn.Module:
    """Make a model with the first options it accepts: transformers need the size of images, others reject it."""
    import timm

    for options in attempts[:-1]:
        with contextlib.suppress(TypeError):
            return timm.create_model(name, **options)
    return timm.create_model(name, **attempts[-1])


def _patch(side: int) -> int:
    """A transformer's patch size: the divisor of the image's side that gives closest to 8 x 8 tokens."""
    divisors = [patch for patch in range(1, side + 1) if side % patch == 0]
    return min(divisors, key=lambda patch: abs(patch - side / TOKENS_PER_SIDE))


class Drawing(nn.Module):
    """A model whose dropout draws from a given generator instead of PyTorch's global one."""

    def __init__(self, model: nn.Module, generator: torch.Generator) -> None:
        super().__init__()
        self.model = model
        self._generator = generator

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, N) for images (B, C, H, W)."""
        with drawn_from(self._generator, images.device) if self.training else contextlib.nullcontext():
            logits: Tensor = self.model(images)
        return logits


@contextlib.contextmanager
def drawn_from(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Seed PyTorch's global generators (CPU and device) from ``generator`` inside the context; restore them after."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        yield


def _keep_size(model: nn.Module) -> None:
    """Let the first convolution keep the images' size, unless it cuts patches; remove the max pool of the stem."""
    name, first = _first_convolution(model)
    if "patch_embed" in name or name == "conv_proj":
        return
    if max(first.stride) > 1:
        kernel = min(3, first.kernel_size[0])
        stem = nn.Conv2d(
            first.in_channels, first.out_channels, kernel, padding=kernel // 2, bias=first.bias is not None
        )
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        model.set_submodule(name, stem)
    for pool in STEM_POOLS:
        if isinstance(_submodule(model, pool), nn.MaxPool2d):
            model.set_submodule(pool, nn.Identity())


def _read_channels(model: nn.Module, channels: int) -> None:
    """Replace the first convolution by one that reads this many channels."""
    name, first = _first_convolution(model)
    stem = nn.Conv2d(
        channels,
        first.out_channels,
        (first.kernel_size[0], first.kernel_size[1]),
        stride=(first.stride[0], first.stride[1]),
        padding=first.padding if isinstance(first.padding, str) else (int(first.padding[0]), int(first.padding[1])),
        bias=first.bias is not None,
    )
    model.set_submodule(name, stem)


def _first_convolution(model: nn.Module) -> tuple[str, nn.Conv2d]:
    return next((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))


def _submodule(model: nn.Module, name: str) -> nn.Module | None:
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None
