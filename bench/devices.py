"""Names of devices, as users write them."""

from __future__ import annotations

import torch

from bench.errors import UserError


def checked(name: str, option: str = "--device") -> str:
    """The name of a device that this machine has: cpu, cuda or cuda:N.

    Args:
        name: as written by a user.
        option: where it was written, for the error.

    Raises:
        UserError: for any other.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"{option} {name!r} is not a device; valid are cpu, cuda and cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"{option} {name!r}: this machine has {torch.cuda.device_count()} CUDA devices")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"{option} {name!r} is not supported; valid are cpu, cuda and cuda:N")
    return name
