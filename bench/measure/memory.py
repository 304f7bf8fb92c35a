"""Memory, as four numbers for four questions.

resident size     memory obtained from the operating system (CUDA: from the allocator)
live bytes        tensor storage that exists at once within a step: needs no hardware and is exactly reproducible
allocated bytes   the same, and what operations take inside and free before they end (see ``bench.measure.allocator``)
parameters        size of the network (see ``bench.measure.probe``)
"""

from __future__ import annotations

import ctypes
import gc
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"

Blocks = dict[int, int]
"""Memory blocks: bytes by address."""


class PeakMemory:
    """Peak memory of this process during a segment: resident size on CPU, the allocator's peaks on CUDA.

    Resident peaks are relative to the size when this object was made.
    """

    def __init__(self, device: torch.device) -> None:
        _give_back()
        self._device = device
        self._before = 0 if device.type == "cuda" else _status_bytes("VmRSS")
        self._known = True
        self.restart()

    def restart(self) -> None:
        """Begin a segment: reset the peak."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            self._known = _reset_peak_resident()

    def peak(self) -> int | None:
        """Bytes: the segment's peak resident size minus the initial size, or peak allocated on CUDA.

        None if the system does not allow resetting the peak: it would be that of the imports.
        """
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return max(0, _status_bytes("VmHWM") - self._before) if self._known else None

    def reserved(self) -> int | None:
        """Peak bytes reserved by CUDA's allocator; None on CPU."""
        return torch.cuda.max_memory_reserved(self._device) if self._device.type == "cuda" else None


def _give_back() -> None:
    """Free garbage and the allocator's cache: otherwise a segment is charged for them, or served from them."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _reset_peak_resident() -> bool:
    """Reset the peak, so that the imports' peak does not hide the training's; False if a container forbids it."""
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def _status_bytes(key: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {key}")


@dataclass(frozen=True)
class LiveBytes:
    """Peak of live tensor storage, the bytes of known owners at the end, and the storages found at the beginning.

    Attributes:
        found: storages that were alive before the step, whether held or first met as an argument, and still are.
    """

    peak: int
    owned: dict[str, int]
    found: Blocks


class LiveStorages(TorchDispatchMode):
    """Counts every storage that operations read or create, once, while it is alive.

    Attributes:
        live: bytes alive now.
        peak: most bytes alive at once; set it back to ``live`` to begin a segment.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._sizes: dict[int, int] = {}
        self._found: dict[int, int] = {}
        self.live = 0
        self.peak = 0

    @property
    def found(self) -> Blocks:
        """The storages that were there before any operation, and still are."""
        return {address: self._sizes[key] for key, address in self._found.items()}

    def add(self, tensor: Tensor, *, made: bool = False) -> None:
        """Count a tensor's storage, unless already counted; ``made`` if an operation has just made it."""
        storage = tensor.untyped_storage()
        key = storage._cdata  # noqa: SLF001 -- identifies the storage itself; its wrappers come and go
        size = storage.nbytes()
        known = self._sizes.get(key)
        if known is None:
            weakref.finalize(storage, self._remove, key).atexit = False
            if not made:
                self._found[key] = storage.data_ptr()
        if known != size:
            self._sizes[key] = size
            self.live += size - (known or 0)
            self.peak = max(self.peak, self.live)

    def _remove(self, key: int) -> None:
        self.live -= self._sizes.pop(key, 0)
        self._found.pop(key, None)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        made = func is torch.ops.aten.lift_fresh.default  # of `torch.tensor`, whose new storage comes as an argument
        for leaf in tensors_of((args, kwargs)):
            self.add(leaf, made=made)
        for leaf in tensors_of(out):
            self.add(leaf, made=True)
        return out


def live_bytes(
    step: Callable[[], Any],
    held: Iterable[Tensor] = (),
    owners: Callable[[], Mapping[str, Iterable[Tensor]]] = dict,
) -> LiveBytes:
    """Peak bytes of all tensor storages alive at once during ``step``, each storage counted once.

    Storage that no operation inside touches is not seen: pass it in ``held`` (parameters and optimiser state of layers
    that the step does not run). What ``step`` creates counts until it is freed. A step written without autograd is
    measured like any other.

    Args:
        step: what to run.
        held: tensors that are alive at the beginning. Those that the step frees, such as old gradients, must come from
            an iterator: a list would keep them alive.
        owners: called after the step; tensors by owner, whose bytes are reported.
    """
    mode = LiveStorages()
    _add_all(mode, held)
    with mode:
        kept = step()
    owned = {name: storage_bytes(tensors) for name, tensors in owners().items()}
    del kept
    return LiveBytes(mode.peak, owned, mode.found)


def blocks(tensors: Iterable[Tensor]) -> Blocks:
    """The storages behind tensors, as memory blocks."""
    storages = (tensor.untyped_storage() for tensor in tensors)
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


def _add_all(mode: LiveStorages, tensors: Iterable[Tensor]) -> None:
    for tensor in tensors:
        mode.add(tensor)


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages behind tensors; shared storage counts once."""
    sizes = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}  # noqa: SLF001
    return sum(sizes.values())


def tensors_of(state: Any) -> Iterator[Tensor]:
    """All tensors in nested containers, such as a state dictionary."""
    return (leaf for leaf in tree_leaves(state) if isinstance(leaf, Tensor))
