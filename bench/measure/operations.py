"""Operations of a step, counted as PyTorch dispatches them: on a GPU, every one of them is launched on its own.

A step whose operations are short is bound by their number there, whatever its work. Views and the bookkeeping of
allocation cost the device nothing, and are not counted.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

ALLOCATES = {
    torch.ops.aten.empty.memory_format,
    torch.ops.aten.empty_like.default,
    torch.ops.aten.empty_strided.default,
    torch.ops.aten.new_empty.default,
    torch.ops.aten.new_empty_strided.default,
}
IN_PLACE_VIEWS = {torch.ops.aten._unsafe_view.default, torch.ops.aten.squeeze_.dim}  # noqa: SLF001 -- an operation's name
WAITS = {
    torch.ops.aten._local_scalar_dense.default,  # noqa: SLF001 -- what `.item()`, `float(...)` and `if` call
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten.equal.default,
    torch.ops.aten._unique2.default,  # noqa: SLF001
    torch.ops.aten.unique_dim.default,
}
"""Operations whose result has to be known to the host: for it to go on, everything queued on the device has to end."""


class Operations(TorchDispatchMode):
    """Counts operations by name.

    Attributes:
        by_name: how often each was dispatched.
        waits: names of those that a host waits for, in the order in which they came.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.by_name: Counter[str] = Counter()
        self.waits: list[str] = []

    @property
    def total(self) -> int:
        """Number of all operations."""
        return sum(self.by_name.values())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = str(func)
        if not (func.is_view or func in ALLOCATES or func in IN_PLACE_VIEWS or name.startswith("profiler.")):
            self.by_name[name] += 1
        masked = func in _INDEXED and any(each is not None and each.dtype == torch.bool for each in args[1])
        if func in WAITS or masked:
            self.waits.append(name)
        return func(*args, **(kwargs or {}))


_INDEXED = {torch.ops.aten.index.Tensor}
"""Gives as many values as the mask has: not the case of ``index_put_`` with a scalar, which may be masked."""
