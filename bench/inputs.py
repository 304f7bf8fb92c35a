"""User input outside suites: device names, numbers in environment variables, the cache folder."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from bench.errors import UserError


def cache_root() -> Path:
    """``local-learning-bench`` in ``$BENCH_CACHE``, else in ``$XDG_CACHE_HOME``, else in ``~/.cache``."""
    for variable in ("BENCH_CACHE", "XDG_CACHE_HOME"):
        folder = os.environ.get(variable)
        if folder:
            return Path(folder).expanduser() / "local-learning-bench"
    return Path.home() / ".cache" / "local-learning-bench"


def count_in(name: str) -> int | None:
    """Read a number from 1 from the environment variable ``name``; None if it is not set.

    Raises:
        UserError: if the variable has another value.
    """
    text = os.environ.get(name)
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"{name} must be a number from 1, got {text!r}")
    return int(text)


def device_name(name: str, option: str = "--device") -> str:
    """Check the name of a device of this machine: cpu, cuda or cuda:N.

    Args:
        name: as the user wrote it.
        option: the option it was given to, for the error.

    Raises:
        UserError: for any other name.
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
