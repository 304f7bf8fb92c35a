"""Any classification model of timm by name, made to fit small images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

SMALL_SIDE = 64
"""Below so many pixels a model's stem keeps the size of the image."""
TOKENS_PER_SIDE = 8


def timm_model(name: str, shape: tuple[int, int, int], classes: int, *, generator: torch.Generator) -> nn.Module:
    """A model without pretrained weights.

    For images of less than 64 pixels a side the first convolution gets stride 1 and a 3x3 kernel and the max pool after
    it is left out, as is usual for ResNets on CIFAR; a transformer cuts them into 8 x 8 tokens or thereabouts.

    Args:
        name: as in ``timm.list_models()``.
        shape: (C, H, W) of the images.
        classes: N.
        generator: draws the first weights, and later what is dropped.

    Raises:
        ValueError: if timm has no such model, or it does not fit such images.
    """
    import timm  # a second to import, and only here needed

    if not timm.is_model(name):
        close = timm.list_models(f"{name[:6]}*")[:5]
        raise ValueError(f"timm has no model {name!r}" + (f"; it has {', '.join(close)}, ..." if close else ""))
    channels, height, width = shape
    options: dict[str, Any] = {"num_classes": classes, "in_chans": channels, "pretrained": False}
    sized = options | {"img_size": (height, width)}
    small = min(height, width) < SMALL_SIDE
    with drawn_from(generator, torch.device("cpu")):
        try:
            model = _first_that_is_made(
                name, [sized | {"patch_size": _patch(height)}, sized, options] if small else [sized, options]
            )
            if small:
                _keep_size(model)
            with torch.no_grad():
                model.eval()(torch.zeros(1, *shape))
        except Exception as error:  # models of a thousand kinds fail in as many ways
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"timm's {name} does not fit images of {height} x {width} pixels: {reason}") from error
    return Drawing(model, generator)


def _first_that_is_made(name: str, attempts: Sequence[dict[str, Any]]) -> nn.Module:
    """A model made with the first options that it knows: transformers need the size of images, others refuse it."""
    import timm

    for options in attempts[:-1]:
        with contextlib.suppress(TypeError):
            return timm.create_model(name, **options)
    return timm.create_model(name, **attempts[-1])


def _patch(side: int) -> int:
    """A transformer's patch: of the sides that divide the image the one that makes about 8 x 8 tokens."""
    divisors = [patch for patch in range(1, side + 1) if side % patch == 0]
    return min(divisors, key=lambda patch: abs(patch - side / TOKENS_PER_SIDE))


class Drawing(nn.Module):
    """A model that draws what it drops from a generator, not from PyTorch's global one."""

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
    """PyTorch's global generators of the CPU and a device, seeded from ``generator``, and afterwards as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        yield


def _keep_size(model: nn.Module) -> None:
    """Let the first convolution keep the images' size, unless it cuts patches; drop the max pool of a ResNet's stem."""
    name, first = next((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    if "patch_embed" in name:
        return
    if max(first.stride) > 1:
        kernel = min(3, first.kernel_size[0])
        stem = nn.Conv2d(
            first.in_channels, first.out_channels, kernel, padding=kernel // 2, bias=first.bias is not None
        )
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        model.set_submodule(name, stem)
    if isinstance(getattr(model, "maxpool", None), nn.MaxPool2d):
        model.set_submodule("maxpool", nn.Identity())
