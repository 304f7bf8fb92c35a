"""The windows of a pool, as views of a padded map."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

Size: TypeAlias = int | Sequence[int]


@dataclass(frozen=True)
class Windows:
    """Windows of a pool over the last dimensions of a map, a number per dimension each.

    Attributes:
        kernel: sides of a window.
        stride: steps between windows.
        padding: cells of padding before the map.
        inputs, outputs: sizes of the map, and of the pooled map.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @classmethod
    def of(
        cls, x: Tensor, pooled: Tensor, kernel_size: Size, stride: Size | None, padding: Size, dimensions: int
    ) -> Windows:
        """The windows of the last dimensions of ``x`` by which PyTorch's pool, same arguments, made ``pooled``."""
        inputs, outputs = tuple(x.shape[-dimensions:]), tuple(pooled.shape[-dimensions:])
        kernel = _each(kernel_size, dimensions)
        steps = kernel if stride is None else _each(stride, dimensions)
        return cls(kernel, steps, _each(padding, dimensions), inputs, outputs)

    def pad(self, x: Tensor, value: float) -> Tensor:
        """The map, padded to all cells that any window needs; the map itself if it needs none."""
        sides: list[int] = []
        for inputs, before, needed in zip(self.inputs, self.padding, self._extent(), strict=True):
            sides = [before, max(0, needed - before - inputs), *sides]
        return F.pad(x, sides, value=value) if any(sides) else x

    def cells(self, padded: Tensor) -> Iterator[Tensor]:
        """Views of a padded map: the first cell of every window, then the second of every window, and so on."""
        for offsets in itertools.product(*(range(side) for side in self.kernel)):
            places = tuple(
                slice(offset, offset + step * (count - 1) + 1, step)
                for offset, step, count in zip(offsets, self.stride, self.outputs, strict=True)
            )
            yield padded[_last(places)]

    def crop(self, padded: Tensor) -> Tensor:
        """Cut the padding off a padded map."""
        places = tuple(slice(before, before + inputs) for before, inputs in zip(self.padding, self.inputs, strict=True))
        return padded[_last(places)]

    def _extent(self) -> tuple[int, ...]:
        sizes = zip(self.outputs, self.stride, self.kernel, strict=True)
        return tuple((count - 1) * step + side for count, step, side in sizes)


def _last(places: tuple[slice, ...]) -> Any:
    """The index of these places in the last dimensions."""
    return (..., *places)


def average(
    x: Tensor, pool: Callable[..., Tensor], kernel_size: Size, stride: Size | None, padding: Size, ceil_mode: bool
) -> Tensor:
    """PyTorch's average pool, with padding not counted in the mean."""
    return pool(x, kernel_size, stride, padding, ceil_mode, count_include_pad=False)


def _each(size: Size, dimensions: int) -> tuple[int, ...]:
    if isinstance(size, int):
        return (size,) * dimensions
    return tuple(size) * dimensions if len(size) == 1 else tuple(size)
